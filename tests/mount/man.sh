#!/bin/bash
# kolmfs(5) says what there is: every name of `kolmfs --names`, every command of every ctl, in that order; and its examples work when pasted, each with the slug and the index it takes.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
page=$ROOT/man/kolmfs.5
same "lint" "" "$(mandoc -T lint -W warning "$page" 2>&1)"
"$KOLMFS" --names | cut -f 1 >"$T/names"
sed -n 's/^\.It Pa //p' "$page" | grep -Fxf "$T/names" | uniq >"$T/documented"
same "names, in order" "" "$(diff "$T/names" "$T/documented")"

# every entry has what a reader looks for: words on what is read, an example; where it can be written what is accepted and its errnos; where it blocks that it does, and what ends it
"$KOLMFS" --names | python3 -c '
import re, sys
entries = re.split(r"(?m)^\.It Pa (.*)\n", open(sys.argv[1]).read().split(".Sh FILES")[1].split(".Sh EXAMPLES")[0])
entries = dict(zip(entries[1::2], entries[2::2]))
for line in sys.stdin:
    name, mode, about = line.rstrip("\n").split("\t")
    text = entries[name]
    words = re.split(r"(?m)^\.Bd", text)[0]
    def lacks(what, is_there):
        if not is_there: print(name + ": " + what)
    lacks("what reading returns", len(words.split()) >= 3)
    lacks("an example", re.search(r"(?m)^\.Bd -literal(?s:.*?)/mnt/kolm(?s:.*?)^\.Ed", text))
    if int(mode, 8) & 0o200:
        lacks("what writing accepts", re.search(r"[Ww]rit|commands", words))
        lacks("its errnos", "Er E" in words)
    last = name.rstrip("/").rsplit("/", 1)[-1]
    if last in ("wait", "follow", "run", "query") and ".Pa <slug>/wait ," not in words:
        lacks("that it blocks, and what ends that", all(w in words for w in ("lock", "EAGAIN", "EINTR")) or "as\n.Pa wait" in words)
' "$page" >"$T/lacks"
same "what entries lack" "" "$(cat "$T/lacks")"

mood_artifact
mv "$T/mood.kolm" "$T/redactor.kolm"
mkdir "$T/docs"
echo "The refund policy: within fourteen days." >"$T/docs/refund.md"
start
cd "$T" && export MODEL
# README in the mount and the page are of one table: its lines, each with what it is
"$KOLMFS" --names | awk -F '\t' '{ sub(/ \(not listed\)$/, "", $3); print $1 " " $3 }' >"$T/table"
sed -n 's/ (not listed)$//; s/^    \(r \|rw\|  \) \([a-zA-Z<r].*[^ ]\)$/\2/p' "$M/README" | sed 's/  */ /' >"$T/readme"
same "README, in order" "" "$(diff "$T/table" "$T/readme")"
for f in "$M/ctl" "$M/rag/ctl"; do
	cut -d ' ' -f 1 "$f" | while read -r verb; do grep -q "Ic $verb\\b" "$page" || echo "$verb"; done
done >"$T/missing"
# what the examples take to be there: a slug with a promoted revision, an index
echo "init $T/redactor.kolm base=$MODEL" >"$M/ctl" || die "init"
cut -d ' ' -f 1 "$M/redactor/ctl" | while read -r verb; do grep -q "Ic $verb\\b" "$page" || echo "$verb"; done >>"$T/missing"
same "commands the page does not know" "" "$(cat "$T/missing")"
mood_rows 0 8 >>"$M/redactor/captures.jsonl"
has step "$(job redactor "step epochs=1")" "step ok rev=v1"
has eval "$(job redactor "eval v1")" "eval ok"
echo "promote v1 force" >"$M/redactor/ctl" || die "promote"
echo "index $T/docs name=docs" >"$M/rag/ctl" && cat "$M/rag/wait" >/dev/null
ask redactor '{"text":"Ask Joan"}' >/dev/null

# every example, in a shell of its own that stops at the first failure
awk -v at="$M" '/^\.Bd -literal/ { n++; next } /^\.Ed/ { n++; next } n % 2 { gsub("/mnt/kolm", at); gsub(/\\e/, "\\"); print > (dir "/example." sprintf("%03d", n)) }' dir="$T" "$page"
examples=0
for f in "$T"/example.*; do
	examples=$((examples + 1))
	out=$(timeout 100 bash -e "$f" 2>"$T/stderr" </dev/null)
	rc=$?
	[ $rc -eq 0 ] || fail "exit $rc: $(cat "$f"): $out $(cat "$T/stderr")"
	case $(cat "$f") in
	*"step epochs=1"*) has "one turn of the loop" "$out" " step ok rev=v2" && has "and its eval" "$out" " eval ok rev=v2" ;;
	*"promote v99"*) has "the sentence" "$out" "no revision v99" ;;
	esac
done
same "examples that ran" "$(grep -c '^\.Bd -literal' "$page")" $examples
echo "ran: $examples examples of kolmfs(5)"
finish
