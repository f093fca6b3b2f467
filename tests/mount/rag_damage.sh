#!/bin/bash
# index.bin damaged on the disk: it is named in status and log, index.json answers in its place, and a new index ends it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mkdir "$T/docs"
artifact plain <<'END'
function generate(input, lib) { return lib.rag.query(input, 5).matches.map((m) => m.path); }
END
for n in $(seq 200); do echo "Page $n of the handbook is about zebras and topic$((n % 9))." >"$T/docs/page$n.md"; done
start
R=$M/rag
B=$S/rag/docs/index.bin
poke "$R/ctl" - "index $T/docs name=docs" "job "
has "indexed" "$(cat "$R/wait")" " ok "
good=$(cat "$R/docs/query?q=topic3+handbook&fmt=paths")
[ -n "$good" ] || fail "no answer to begin with"
no grep -q ^damaged "$R/docs/status"
# flip FROM: one bit of every 64th byte from there on; the page sums at the end stay, so that it is a query that meets the damage
flip() {
	python3 - "$B" "$1" <<'END'
import sys
f = open(sys.argv[1], 'r+b')
f.seek(int(sys.argv[2]))
b = bytearray(f.read())[:-1024]
b[::64] = bytes(x ^ 1 for x in b[::64])
f.seek(int(sys.argv[2]))
f.write(b)
END
}
damaged() {
	same "$1: the answer" "$good" "$(timeout 20 cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
	same "$1: another" "page7.md" "$(timeout 20 cat "$R/docs/query?q=7+page+handbook+topic7&fmt=paths&k=300" | grep -x page7.md)"
	has "$1: status" "$(grep ^damaged "$R/docs/status")" "index \"docs\" is damaged: "
	has "$1: status names the part" "$(grep ^damaged "$R/docs/status")" "$2"
	has "$1: docs" "$(grep ^docs "$R/docs/status")" "docs 200"
	same "$1: logged once" "$3" "$(grep -c '"index_damaged"' "$S/logs/tune.jsonl")"
}
stop
flip 4096
start
no grep -q ^damaged "$R/docs/status"
damaged "its sections" "of index.bin does not match its checksum" 1
has "kolm says so too" "$(KOLM_HOME=$S timeout 20 "$BUILD/bin/kolm" rag query docs "topic3 handbook" 2>&1 >/dev/null)" "warning: index \"docs\" is damaged"
stop
flip 0
start
damaged "its header" "index.bin does not begin as one" 3
ok eval 'echo reindex >"$R/docs/ctl"'
has "built again" "$(cat "$R/wait")" " ok "
same "with the same answer" "$good" "$(cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
no grep -q ^damaged "$R/docs/status"
# cut short while the server has it mapped: an answer that was given is kept, one that must be searched for meets the cut
: >"$B"
same "cut short: asked again" "$good" "$(timeout 20 cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
no grep -q ^damaged "$R/docs/status"
same "cut short: asked first" page8.md "$(timeout 20 cat "$R/docs/query?q=8+page+topic8&fmt=paths&k=300" | grep -x page8.md)"
has "cut short: status" "$(grep ^damaged "$R/docs/status")" 'index "docs" is damaged: '
same "cut short: asked again of the other index" "$good" "$(timeout 20 cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
ok eval 'echo reindex >"$R/docs/ctl"'
has "built again" "$(cat "$R/wait")" " ok "
same "after the cut" "$good" "$(cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
# both damaged: said, not guessed
flip 4096
stop
sed -i 's/handbook/handbolk/' "$S/rag/docs/index.json"
start
no cat "$R/docs/query?q=handbook"
has "both" "$(cat "$R/docs/error")" "index \"docs\" is damaged: "
poke "$R/ctl" - "index $T/docs name=docs" "job "
has "a new one" "$(cat "$R/wait")" " ok "
same "answers" "$good" "$(cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
no grep -q ^damaged "$R/docs/status"

# mode kolm-2 has no index.json: the generation before answers, and each answer says which that is
poke "$R/ctl" - "index $T/docs name=two mode=kolm-2" "job "
has "kolm-2" "$(cat "$R/wait")" " ok "
first=$(awk '$1 == "generation" { print $2 }' "$R/two/status")
old=$(cat "$R/two/query?q=topic3+handbook&fmt=paths")
same "no spare of a first build" "" "$(ls -A "$S/rag" | grep last)"
echo "A topic3 handbook handbook of the second edition." >"$T/docs/aaa.md"
ok eval 'echo reindex >"$R/two/ctl"'
has "kolm-2 again" "$(cat "$R/wait")" " ok "
second=$(awk '$1 == "generation" { print $2 }' "$R/two/status")
same "the new one answers" "aaa.md $second" "$(jq -r '"\(.matches[0].path) \(.generation)"' "$R/two/query?q=topic3+handbook&fmt=json")"
B=$S/rag/two/index.bin
cp "$B" "$T/good.bin"
for at in 4096 0; do
	stop
	flip $at
	start
	same "kolm-2, $at: the answer" "$old" "$(timeout 20 cat "$R/two/query?q=topic3+handbook&fmt=paths")"
	same "kolm-2, $at: says whose it is" "$first" "$(jq -r .generation "$R/two/query?q=topic3+handbook&fmt=json")"
	has "kolm-2, $at: status" "$(grep ^damaged "$R/two/status")" 'index "two" is damaged: '
	same "kolm-2, $at: its documents" "" "$(grep aaa.md "$R/two/docs")"
	no test -e "$R/two/doc/aaa.md"
	ok test -s "$R/two/doc/page7.md"
	ok test -s "$R/two/terms/topic3"
	has "kolm-2, $at: kolm" "$(KOLM_HOME=$S timeout 20 "$BUILD/bin/kolm" rag query two "topic3" 2>&1 >/dev/null)" 'warning: index "two" is damaged'
	cp "$T/good.bin" "$B"
done
stop
flip 4096
start
ok eval 'echo reindex >"$R/two/ctl"'
has "built again" "$(cat "$R/wait")" " ok "
same "as new" "aaa.md $second" "$(jq -r '"\(.matches[0].path) \(.generation)"' "$R/two/query?q=topic3+handbook&fmt=json")"
no grep -q ^damaged "$R/two/status"
# the damaged one did not take the place of the good one before
stop
flip 4096
start
same "the first one still" "$first" "$(jq -r .generation "$R/two/query?q=topic3+handbook&fmt=json")"
tuned plain
poke "$M/plain/ctl" - "attach two" ok
same "lib.rag is answered too" "$old" "$(ask plain "topic3 handbook" | jq -r '.[]')"
echo "remove two" >"$R/ctl" || fail remove
same "removed with it" "" "$(ls -A "$S/rag" | grep two)"
finish
