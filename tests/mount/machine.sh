#!/bin/bash
# The machine itself goes wrong under a server (BAD-INPUTS K04, K05, K06, K11, by mischief.c and machine.py); then what a server finds at its start (B09, B16, H05, H08, K12, K13, K14,
# K16). SEED; ALL=1: a minute of failing allocations, a hundred thousand revisions.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
[ -e "$BUILD/fault/mischief.so" ] || die "make faults first"
cp -r "$ROOT/tests/unit/data/peft/tiny" "$T/base"
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact one
mkdir "$T/docs"
echo "our refund policy" >"$T/docs/a.md"
start
echo "init $T/one.kolm base=$T/base rank=4" >"$M/ctl" || die "$(cat "$M/error")"
cp -r "$S/tune/one/revisions/v0" "$S/tune/one/revisions/v1"
echo 'promote v1 force' >"$M/one/ctl" || die "$(cat "$M/one/error")"
echo '{"input":"a","output":"b"}' >"$M/one/captures.jsonl"
echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 20 cat "$M/rag/wait" >/dev/null || die "index"
stop
case $BUILD in
*-san) echo "ran: machine.sh without a machine that fails: sanitizers will not be preloaded over" ;;
*)
	truncate -s 128 "$T/words"
	LD_PRELOAD=$BUILD/fault/mischief.so KOLM_MISCHIEF=$T/words "$KOLMFS" "$S" "$M" 2>>"$T/log" || die "it does not start with mischief.so"
	python3 "$ROOT/tests/mount/machine.py" "$M" "$S" "$T/words" "${SEED:-$(date +%j)}" ${ALL:+all} >"$T/out" 2>&1 || fail "$(cat "$T/out")"
	grep '^ran: ' "$T/out"
	stop
	;;
esac
digest() { (cd "$1" && find . -printf '%y %m %p\n' | sort; find . -type f -exec sha256sum {} + | sort) | sha256sum; }
# it does not start on a store, and has touched nothing: WHAT STATUS PART STORE
refused() {
	local was rc
	was=$(digest "$4")
	timeout 10 "$KOLMFS" "$4" "$M" >"$T/out" 2>&1
	rc=$?
	same "$1: exit status" "$2" $rc
	has "$1" "$(cat "$T/out")" "$3"
	same "$1: lines" 1 "$(wc -l <"$T/out")"
	same "$1: the store" "$was" "$(digest "$4")"
	no mountpoint -q "$M"
}

# B16, K12
cp -r "$S" "$T/store2"
chmod 770 "$T/store2"
refused B16 4 "store must belong to user $(id -u) with mode 0700" "$T/store2"
chmod 700 "$T/store2"
if [ "$(id -u)" = 0 ]; then
	chown 65534 "$T/store2"
	refused "B16, another's" 4 "belongs to user 65534" "$T/store2"
	chown 0 "$T/store2"
fi
echo 9 >"$T/store2/format"
refused K12 3 "store format 9, this program knows 1 to" "$T/store2"
rm -rf "$T/store2"

# K13, K14: no home, and nobody to talk to
for home in "" some/where; do
	HOME=$home timeout 10 "$KOLMFS" >"$T/out" 2>&1 && fail "K13: it starts with HOME '$home'"
	has "K13: HOME '$home'" "$(cat "$T/out")" "set HOME or give --store"
done
"$KOLMFS" --names >/dev/full 2>"$T/out"
same "K14: exit status" 4 $?
has K14 "$(cat "$T/out")" "cannot write to standard output"

# H05: what a change that was cut off leaves lying about; one line tells of each
recovered() { grep -c '"event":"recovered"' "$S/logs/tune.jsonl"; }
was=$(recovered)
echo v0 >"$S/tune/one/.HEAD.next"
echo half >"$S/tune/one/.tune-config.json.tmp.999999.1"
start
same "H05: names left" "" "$(cd "$S/tune/one" && ls -A | grep -E 'next|tmp')"
same "H05: lines of it" 1 "$(($(recovered) - was > 0))"
head=$(cat "$M/one/HEAD")
stop
was=$(recovered)
start
same "H05: the second start finds nothing" "$was" "$(recovered)"
same "H05: HEAD" "$head" "$(cat "$M/one/HEAD")"

# K16: the log was changed; who verifies it is told where, and the server goes on
echo 'capture on' >"$M/one/ctl"
cp "$S/logs/tune.jsonl" "$T/log.kept"
changed() { # WHAT PART SED
	sed "$3" "$T/log.kept" >"$S/logs/tune.jsonl"
	"$BUILD/bin/kolm" --store "$S" log verify >"$T/out" 2>&1
	same "K16 $1: exit status" 4 $?
	has "K16 $1" "$(cat "$T/out")" "$2"
	has "K16 $1: it lives" "$(cat "$M/one/status")" "head $head"
}
changed "one byte" "chain breaks at line 3" '2s/"event":"./"event":"X/'
changed "a line removed" "chain breaks at line 2" '2d'
changed "two swapped" "chain breaks at line 2" '2{h;d};3{G}'
cat "$T/log.kept" >"$S/logs/tune.jsonl"
ok "$BUILD/bin/kolm" --store "$S" log verify >/dev/null

# H08: very many revisions
n=${ALL:+100000}
(cd "$S/tune/one/revisions" && seq -f 'v%.0f' 100 $((${n:-5000} + 99)) | xargs mkdir)
begun=$(date +%s%N)
same "H08: listed" "v0 v1" "$(ls "$M/one/revisions" | head -n 2 | tr '\n' ' ' | sed 's/ $//')"
echo 'step epochs=1' >"$M/one/ctl" || fail "H08: $(cat "$M/one/error")"
took=$((($(date +%s%N) - begun) / 1000000))
[ $took -lt 2000 ] || fail "H08: list and step took $took ms"
echo cancel >"$M/one/ctl"
cat "$M/one/wait" >/dev/null
stop

# B09: the artifact is another's, and the server may not read everything; also the base
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	cp "$T/one.kolm" "$T/theirs.kolm" && chmod 600 "$T/theirs.kolm" && chown 65534 "$T/theirs.kolm"
	cp "$MODEL" "$T/theirs.gguf" && chmod 600 "$T/theirs.gguf" && chown 65534 "$T/theirs.gguf"
	bound() { setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search "$@"; }
	bound "$KOLMFS" "$S" "$M" 2>>"$T/log" || die "it does not start without the right to read everything"
	was=$(cd "$S" && digest tune)
	poke "$M/ctl" EACCES "init $T/theirs.kolm base=$T/base" "$T/theirs.kolm"
	poke "$M/ctl" EACCES "init $T/one.kolm base=$T/theirs.gguf slug=two" "$T/theirs.gguf"
	same "B09: the store" "$was" "$(cd "$S" && digest tune)"
	same "B09: it lives" "$head" "$(cat "$M/one/HEAD")"
else
	echo "ran: machine.sh without B09: needs root and setpriv"
fi
finish
