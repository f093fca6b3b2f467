#!/bin/bash
# index.bin damaged on the disk: it is named in status and log, index.json answers in its place, and a new index ends it.
. "$(dirname "$0")/lib.sh"
mkdir "$T/docs"
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
# cut short while the server has it mapped
: >"$B"
same "cut short: the answer" "$good" "$(timeout 20 cat "$R/docs/query?q=topic3+handbook&fmt=paths")"
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
finish
