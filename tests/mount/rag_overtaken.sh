#!/bin/bash
# An index that a running server has open is written anew by others: in place, as the reference does it, and twice between two questions.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mkdir "$T/docs"
artifact plain <<'END'
function generate(input, lib) { return lib.rag.query(input, 5).matches.map((m) => m.path); }
END
echo "the zebra is striped" >"$T/docs/a.md"
start
R=$M/rag
poke "$R/ctl" - "index $T/docs name=docs" "job "
has "indexed" "$(cat "$R/wait")" " ok "
same "before" "a.md" "$(cat "$R/docs/query?q=zebra&fmt=paths")"
has "listed before" "$(cat "$R/docs/docs")" "a.md"
tuned plain
echo "attach docs" >"$M/plain/ctl" || fail attach
same "a recipe before" '["a.md"]' "$(ask plain zebra | jq -c .)"
# in place: the folder and its files stay the same ones
mkdir "$T/other"
{ printf 'a word %.0s' $(seq 100); echo "and the zebra moved"; } >"$T/other/b.md"
KOLM_HOME=$T/elsewhere "$BUILD/bin/kolm" rag index "$T/other" --name docs >/dev/null || fail "no other index"
for f in index.json manifest.json; do cat "$T/elsewhere/rag/docs/$f" >"$S/rag/docs/$f"; done
same "overtaken" "b.md" "$(cat "$R/docs/query?q=zebra&fmt=paths")"
same "a recipe" '["b.md"]' "$(ask plain zebra | jq -c .)"
has "listed" "$(cat "$R/docs/docs")" "b.md"
# such an index has no texts: what an answer shows of a file is what is in it now
has "of the file" "$(cat "$R/docs/query?q=zebra")" "the zebra moved"
rm "$T/other/b.md"
has "of no file" "$(cat "$R/docs/query?q=zebra")" "a word a word"
case $(cat "$R/docs/query?q=zebra") in *zebra*) fail "an answer shows what is in no file any more" ;; esac
# by folders that take each other's place: a number that is free is given again
for n in 1 2 3 4 5 6; do
	for k in 1 2; do
		echo "the zebra, $n times $k" >"$T/docs/a$n$k.md"
		KOLM_HOME=$S "$BUILD/bin/kolm" rag index "$T/docs" --name docs >/dev/null || fail "not indexed again"
	done
	same "round $n" "$((2 * n + 1))" "$(cat "$R/docs/query?q=zebra&fmt=paths&k=100" | wc -l)"
done
# what was replaced or removed, and nobody asks for again, takes no room on the disk
let_go() { ! grep -q 'rag/.*index\.bin (deleted)' "/proc/$(server_pid)/maps"; }
has "it is mapped" "$(cat "/proc/$(server_pid)/maps")" "/rag/docs/index.bin"
KOLM_HOME=$S "$BUILD/bin/kolm" rag index "$T/docs" --name docs >/dev/null || fail "not indexed again"
soon let_go
has "asked" "$(cat "$R/docs/query?q=zebra&fmt=paths&k=100")" "a62.md"
echo "remove docs" >"$R/ctl" || fail "not removed"
soon let_go
finish
