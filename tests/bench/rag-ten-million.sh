#!/bin/bash
# rag-ten-million - an index of ten million documents: parts of the seeded corpus, made and deleted one after another, joined by `kolm rag merge`. Hours of disk and processor: never part of a
# check. Run it again and it goes on behind the last part that was finished.
#   DOCS=10000000 PART=500000   documents in all, and in a part
#   T=/tmp/ten                  parts, index and results (about 1.1 GB for each million, twice while merging); TREE=$T/tree: the texts of one part (two files a KiB; /dev/shm is quicker)
#   MEM=268435456 THREADS=1     mem= of every build
#   STEPS="build merge query"   query: open, p50 and p99 alone, for a quiet moment
# While /tmp/pause is there, nothing new is begun. Its process group stands in /tmp/pausable, for who wants to stop it for a while.
# The figure of a build is its processor time where the machine is not idle.
set -u
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
DOCS=${DOCS:-10000000} PART=${PART:-500000} T=${T:-/tmp/ten} MEM=${MEM:-268435456} THREADS=${THREADS:-1} STEPS=${STEPS:-build merge query}
TREE=${TREE:-$T/tree}
export KOLM_HOME=$T/store
mkdir -p "$T/parts" "$KOLM_HOME"
[ -x "$BUILD/bench/rag_corpus" ] && [ -x "$BUILD/bench/rag_query" ] || { echo "$BUILD/bench is not built: make benches"; exit 1; }
ps -o pgid= $$ | tr -d ' ' >/tmp/pausable
trap 'rm -f /tmp/pausable' EXIT
pause() { while [ -e /tmp/pause ]; do sleep 1; done; }
wants() { case " $STEPS " in *" $1 "*) ;; *) return 1 ;; esac; }
# cost CMD...: CODE WALL CPU RSS PRIVATE
cost() { read -r CODE WALL CPU RSS PRIVATE < <(python3 "$ROOT/tests/bench/cost.py" "$@" 2>"$T/log"); [ "$CODE" = 0 ] || { echo "failed: $*"; tail -n 3 "$T/log"; exit 1; }; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }

parts=()
for ((first = 0; first < DOCS; first += PART)); do
	n=$((first + PART > DOCS ? DOCS - first : PART))
	part=$T/parts/p$first
	parts+=("$part")
	{ wants build && [ ! -e "$part.done" ]; } || continue
	pause
	rm -rf "$TREE" "$part"
	mkdir -p "$part" "$TREE"
	"$BUILD/bench/rag_corpus" $n "$TREE" $first || exit 1
	bytes=$(stat -c %s "$TREE/docs.txt")
	rm "$TREE/docs.txt"
	mv "$TREE/queries.txt" "$T/queries.txt" # of the last part: over all documents
	pause
	cost "$BUILD/bin/kolm-indexer" --name ten --root "$TREE/tree" --out "$part" --mem "$MEM" --threads "$THREADS"
	echo "$n $bytes $WALL $CPU $RSS $PRIVATE" >"$part.done"
	echo "part $first: $(calc '%.0f MB, %.1f s of processor (%.1f MB/s), %.1f s by the clock, peak %.0f MiB, private %.0f MiB' "$bytes / 1e6, $CPU, $bytes / 1e6 / $CPU, $WALL, $RSS / 1024, $PRIVATE / 1024")"
	rm -rf "$TREE"
done
wants build && cat "$T"/parts/*.done | awk '{ n += $1; b += $2; w += $3; c += $4; if ($5 > r) r = $5; if ($6 > p) p = $6 }
	END { printf "all parts: %d documents, %.0f MB, %.0f s of processor (%.1f MB/s), %.0f s by the clock, peak %.0f MiB, private %.0f MiB\n", n, b / 1e6, c, b / 1e6 / c, w, r / 1024, p / 1024 }'
if wants merge; then
	pause
	cost "$BUILD/bin/kolm" rag merge ten "${parts[@]}"
	echo "merge: $(calc '%.1f s of processor, %.1f s by the clock, peak %.0f MiB, private %.0f MiB' "$CPU, $WALL, $RSS / 1024, $PRIVATE / 1024")"
	tail -n 3 "$T/log"
fi
if wants query; then
	pause
	index=$KOLM_HOME/rag/ten
	echo "size: index.bin $(stat -c %s "$index/index.bin"), all files $(du -sb "$index" | cut -f1) bytes"
	cat "$index/index.bin" >/dev/null # in memory, as far as it fits
	read -r open p50 p99 answer mem post < <("$BUILD/bench/rag_query" "$KOLM_HOME/rag" ten "$T/queries.txt")
	echo "open $open us; p50 $p50 us, p99 $p99 us (k 10, 2-6 terms); an answer with excerpts $answer us; private memory $mem KiB; $post bytes a posting"
fi
