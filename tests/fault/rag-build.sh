# a build of an index killed, or out of space, at each file it opens and each of its writes: the old index or the new one, and nothing left behind
. tests/fault/lib.sh
tools/deps strace >/dev/null 2>&1
command -v strace >/dev/null || { echo "strace is missing and cannot be installed"; exit 77; }
export KOLM_HOME=$D/store
kolm=$BUILD/bin/kolm
mkdir -m 700 "$D/store"
mkdir "$D/docs"
for n in $(seq 300); do echo "document $n about topic$((n % 7)), refund policy number $n" >"$D/docs/d$n.md"; done
old() { rm -f "$D/docs/new.md"; }
new() { echo "the new zebra document" >"$D/docs/new.md"; }
fail() { echo "FAILED: $*"; exit 1; }
answer() { timeout 20 "$kolm" rag query docs "zebra refund topic3" --json 2>&1; }

old; "$kolm" rag index "$D/docs" --name docs >/dev/null 2>&1 || fail "the first build"
was=$(answer)
new; "$kolm" rag index "$D/docs" --name docs >/dev/null 2>&1 || fail "the second build"
is=$(answer)
[ "$was" != "$is" ] || fail "both editions answer the same"

rounds=0 olds=0 news=0
# round EFFECT CALL N: build the new edition over the old one with that fault
round() {
	local effect=$1 call=$2 n=$3 got begun
	old; "$kolm" rag index "$D/docs" --name docs >/dev/null 2>&1 || fail "$effect at $call $n: the rebuild before"
	[ "$(answer)" = "$was" ] || fail "before $effect at $call $n"
	begun=$SECONDS
	new; (timeout -k 5 60 strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:$effect:when=$n" "$kolm" rag index "$D/docs" --name docs; true) >"$D/out" 2>&1
	[ $((SECONDS - begun)) -lt 60 ] || fail "$effect at $call $n: it does not end: $(tail -n 3 "$D/out")"
	got=$(answer)
	case $got in
	"$was") olds=$((olds + 1)) ;;
	"$is") news=$((news + 1)) ;;
	*) fail "$effect at $call $n: neither the old index nor the new one: ${got:0:300}" ;;
	esac
	rounds=$((rounds + 1))
}
# every Nth, so that a part run looks at some of each
step=$PART
for effect in signal=SIGKILL error=ENOSPC; do
	for call in openat write pwrite64 fsync renameat2; do
		case $call in openat | write) last=40 ;; *) last=8 ;; esac
		for ((n = 1; n <= last; n += step)); do round "$effect" "$call" "$n"; done
	done
done
new; "$kolm" rag index "$D/docs" --name docs >/dev/null 2>&1 || fail "the last build"
[ "$(answer)" = "$is" ] || fail "the last answer"
# what a killed one was building goes when the next server starts
mkdir "$D/mnt"
timeout 20 "$BUILD/bin/kolmfs" "$D/store" "$D/mnt" >"$D/out" 2>&1 || fail "the server: $(cat "$D/out")"
pid=$(timeout 5 awk '$1 == "pid" { print $2 }' "$D/mnt/status")
kill "$pid"
for ((n = 0; n < 200; n++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
left=$(ls -A "$D/store/rag" | grep -vx 'docs\|.docs.last\|jobs\|.job.lock\|.number.lock\|jobs.jsonl')
[ -z "$left" ] || fail "left behind: $left"
[ "$olds" -gt 0 ] && [ "$news" -gt 0 ] || fail "$olds old, $news new: the faults missed"
echo "rag-build: $rounds faults, $olds times the old index, $news times the new one"
