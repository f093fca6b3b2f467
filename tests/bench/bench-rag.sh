#!/bin/bash
# bench-rag - the index beside its peers on the same seeded texts in one run (tests/bench/rag_corpus.c). Figures, never a test: what | must | aim | reached.
#   SIZES="50000 1000000"          how many documents; the first also goes through the mount and an update
#   PEERS="fts5 xapian tantivy bm25s"      PEERS_BIG="tantivy": those that are asked above BIG=200000 documents (Xapian takes a quarter of an hour there)
#   TREE=/usr/include              a real tree, indexed twice so that it is warm; OUT=file: the table too
set -u
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
PEERS_VENV=${PEERS_VENV:-$ROOT/build/peers}
SIZES=${SIZES:-50000 1000000} PEERS=${PEERS:-fts5 xapian tantivy bm25s} PEERS_BIG=${PEERS_BIG:-tantivy} BIG=${BIG:-200000} TREE=${TREE:-/usr/include}
T=${T:-$(mktemp -d "${TMPDIR:-/tmp}/kolm-bench-rag.XXXXXX")}
M=$T/mnt
trap 'umount -l "$M" 2>/dev/null; [ -n "${KEEP:-}" ] || rm -rf "$T"' EXIT
"$ROOT/tools/deps" python3-xapian >/dev/null 2>&1 # a peer; left out where it cannot be had
[ -x "$BUILD/bench/rag_corpus" ] && [ -x "$BUILD/bench/rag_query" ] || { echo "$BUILD/bench is not built: make bench-rag"; exit 1; }
mkdir -p "$T/rag"
row() { printf '| %-48s | %-12s | %-12s | %-34s |\n' "$1" "$2" "$3" "$4" | tee -a "$T/table"; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
now() { date +%s.%N; }

# the newest python that has the peer: the system's has xapian and sqlite3, the environment the others
python_of() { case $1 in fts5 | xapian) echo /usr/bin/python3 ;; *) echo "$PEERS_VENV/bin/python" ;; esac; }
has_peer() {
	local module=$1
	[ "$1" != fts5 ] || module=sqlite3
	"$(python_of "$1")" -c "import $module" 2>/dev/null
}

# index ROOT OUT FLAGS...: build; SECONDS_TAKEN
index() {
	local root=$1 out=$2 start
	shift 2
	mkdir -p "$out"
	start=$(now)
	"$BUILD/bin/kolm-indexer" --name "$(basename "$out")" --root "$root" --out "$out" "$@" >"$T/indexer.out" 2>"$T/indexer.err" || { tail -1 "$T/indexer.out"; exit 1; }
	SECONDS_TAKEN=$(calc %.2f "$(now) - $start")
}

row what must aim reached
row --- --- --- ---
first=${SIZES%% *}
for n in $SIZES; do
	corpus=$T/c$n
	[ -e "$corpus/queries.txt" ] || "$BUILD/bench/rag_corpus" "$n" "$corpus" || exit 1
	bytes=$(stat -c %s "$corpus/docs.txt")
	find "$corpus/tree" -type f -print0 | xargs -0 cat >/dev/null # warm, as far as it fits
	index "$corpus/tree" "$T/rag/one$n" --threads 1
	row "build, one thread, $n documents" "30 MB/s" "60 MB/s" "$(calc '%.1f MB/s (%.1f s)' "$bytes / 1e6 / $SECONDS_TAKEN, $SECONDS_TAKEN")"
	rm -rf "$T/rag/one$n"
	index "$corpus/tree" "$T/rag/docs$n"
	row "build, $(nproc) threads, $n documents" "" "" "$(calc '%.1f MB/s (%.1f s)' "$bytes / 1e6 / $SECONDS_TAKEN, $SECONDS_TAKEN")"
	read -r open p50 p99 answer mem post < <("$BUILD/bench/rag_query" "$T/rag" "docs$n" "$corpus/queries.txt")
	if [ "$n" -ge 1000000 ]; then
		row "p50 / p99, $n documents, 2-6 terms, k 10" "0.15 / 4 ms" "0.09 / 1.5" "$(calc '%.3f / %.2f ms' "$p50 / 1000, $p99 / 1000")"
	else
		row "p50 / p99 in process, $n documents" "0.03 ms" "0.015 ms" "$(calc '%.4f / %.3f ms' "$p50 / 1000, $p99 / 1000")"
	fi
	row "p50 of an answer with ten excerpts, $n" "" "" "$(calc '%.3f ms' "$answer / 1000")"
	row "open, $n documents" "microseconds" "" "$open us"
	row "memory of queries, $n documents" "1 MB private" "" "$mem KiB"
	row "postings and skips per posting, $n" "1.6 B" "1.3 B" "$post B"
	fastest=
	for peer in $PEERS; do
		[ "$n" -le "$BIG" ] || case " $PEERS_BIG " in *" $peer "*) ;; *) continue ;; esac
		has_peer "$peer" || { row "$peer, $n documents" "" "" "not installed"; continue; }
		limit=1000
		[ "$peer" = fts5 ] && limit=100
		read -r built size q50 q99 < <("$(python_of "$peer")" "$ROOT/tests/bench/rag_peers.py" "$peer" "$corpus" "$T/peer" "$limit" 2>"$T/peer.err")
		[ -n "${q99:-}" ] || { row "$peer, $n documents" "" "" "failed: $(tail -1 "$T/peer.err" | cut -c1-60)"; continue; }
		row "$peer, $n: p50 / p99; ours is faster by" "" "" "$(calc '%.3f / %.2f ms; %.0f x / %.0f x' "$q50 / 1000, $q99 / 1000, $q50 / $p50, $q99 / $p99")"
		row "$peer, $n: build, $(calc %.0f "$size / 1e6") MB" "" "" "$built s"
		if [ -z "$fastest" ] || awk "BEGIN { exit !($q50 < $fastest) }"; then fastest=$q50; fi
		unset q99
	done
	[ -z "$fastest" ] || row "against the fastest peer, p50, $n" "5 x" "15 x" "$(calc '%.1f x' "$fastest / $p50")"
	[ "$n" = "$first" ] || continue

	# one file of all changes
	sleep 3
	index "$corpus/tree" "$T/rag/next" --prev "$T/rag/docs$n"
	echo "a changed document" >>"$corpus/tree/t0000/d0000777.txt"
	rm -rf "$T/rag/next2"
	index "$corpus/tree" "$T/rag/next2" --prev "$T/rag/next"
	row "1 of $n files changed" "0.6 s" "0.35 s" "$SECONDS_TAKEN s"
	rm -rf "$T/rag/next" "$T/rag/next2"

	# through the mount
	export KOLM_HOME=$T/store
	mkdir -p "$M" "$T/store/rag"
	cp -r "$T/rag/docs$n" "$T/store/rag/docs"
	sed -i "s/docs$n/docs/" "$T/store/rag/docs/manifest.json"
	"$BUILD/bin/kolmfs" "$T/store" "$M" >"$T/kolmfs.log" 2>&1
	row "p50 through the mount, $n documents, k 5" "150 us" "110 us" "$(python3 - "$M/rag/docs" "$corpus/queries.txt" <<'END'
import os, sys, time
folder, took = sys.argv[1], []
for line in list(open(sys.argv[2]))[:300]:
    best = 1e9
    # the same question in other letters: of what it was asked before the server keeps the answer
    for written in (str.lower, str.upper, str.title):
        name = folder + '/query?q=' + '+'.join(written(line).split())
        start = time.perf_counter()
        fd = os.open(name, os.O_RDONLY)
        while os.read(fd, 65536):
            pass
        os.close(fd)
        best = min(best, time.perf_counter() - start)
    took.append(best * 1e6)
took.sort()
print('%.0f us (p99 %.0f us)' % (took[len(took) // 2], took[len(took) * 99 // 100]))
END
)"
	umount -l "$M"
	unset KOLM_HOME
done
index "$TREE" "$T/rag/real1" --ext "" --threads 2
rm -rf "$T/rag/real1"
index "$TREE" "$T/rag/real2" --ext "" --threads 2
real=$(sed -n 's/.*"docs":\([0-9]*\).*/\1/p' "$T/indexer.out")
bytes=$(python3 -c 'import os,struct,sys
b=open(sys.argv[1],"rb").read(); n=struct.unpack_from("<I",b,12)[0]; at=8+8+64+16+8+16+8; s=0
for _ in range(n):
    s+=struct.unpack_from("<Q",b,at)[0]; l=struct.unpack_from("<I",b,at+72)[0]; at+=80+(l+8)//8*8
print(s)' "$T/rag/real2/sources.bin")
row "build, real tree ($TREE, $real files), 2 threads, warm" "100 MB/s" "200 MB/s" "$(calc '%.0f MB/s (%.0f MB in %.1f s)' "$bytes / 1e6 / $SECONDS_TAKEN, $bytes / 1e6, $SECONDS_TAKEN")"
[ -z "${OUT:-}" ] || cp "$T/table" "$OUT"
