#!/bin/bash
# rag/: a folder becomes an index, questions on a ctl-like file and in names (J11-J15), a new index under readers (J10), and a recipe that looks things up (J16, J17).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mkdir "$T/docs"
for n in 1 2 3 4 5 6 7 8; do echo "Page $n of the handbook. Every page is of edition old." >"$T/docs/page$n.md"; done
echo "Refunds are paid within fourteen days. The refund policy has no exceptions." >"$T/docs/refund.md"
echo "cat sat" >"$T/docs/cat.txt"
artifact plain <<'END'
function generate(input, lib) {
	if (!lib.rag) return "no index";
	return lib.rag.query(input, 1).matches.map((m) => m.path);
}
END
start
R=$M/rag
Q=$R/docs

# ---- index ----
poke "$R/ctl" ENOENT "index $T/nosuch" "$T/nosuch"            # J02
poke "$R/ctl" ENOTDIR "index $T/docs/cat.txt" "cat.txt"       # J02
poke "$R/ctl" EINVAL "index $T/docs name=../x" "bad index name" # J01
poke "$R/ctl" EINVAL "index $T/docs name=" "bad index name"
poke "$R/ctl" ENAMETOOLONG "index $T/docs name=$(printf 'a%.0s' $(seq 300))" ""
mkdir "$T/empty"
echo "index $T/empty" >"$R/ctl"
has "J03" "$(cat "$R/wait")" "error=no files matched"
no test -e "$R/empty"
poke "$R/ctl" - "index $T/docs name=docs" "job "
out=$(cat "$R/wait")
[[ $out =~ ^[0-9]+\ index\ ok\ rev=-\ k=-\ pass=-\ elapsed=[0-9]+\.[0-9]$ ]] || fail "the line of wait is '$out'"
same "listed" "ctl docs error jobs" "$(ls "$R" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
same "listed of an index" "ctl doc docs error index.json manifest.json query status terms" "$(ls "$Q" | LC_ALL=C sort | tr '\n' ' ' | sed 's/ $//')"
has "status" "$(cat "$Q/status")" "docs 10"
same "documents" 10 "$(wc -l <"$Q/docs")"
same "index.json" "kolm-rag-1 10" "$(jq -r '"kolm-rag-1 \(.docs | length)"' "$Q/index.json")"

# ---- ask ----
ask_index() { (exec 6<>"$Q/query" && printf '%s\n' "$1" >&6 && cat <&6); }
has "the usage" "$(cat "$Q/query")" "write a question, then read the hits"
hit=$(ask_index "refund policy")
[[ $hit =~ ^[0-9.]+$'\t'refund.md$'\t'.*refund ]] || fail "a question: '$hit'"
same "the same as a file" "$hit" "$(cat "$Q/query?q=refund+policy")"
same "its size is true" "$(cat "$Q/query?q=refund+policy" | wc -c)" "$(stat -c %s "$Q/query?q=refund+policy")"
same "fmt=paths" "refund.md" "$(cat "$Q/query?q=refund%20policy&fmt=paths")"
same "fmt=json" "refund policy refund.md $(awk '$1 == "generation" { print $2 }' "$Q/status")" \
	"$(jq -r '"\(.query_tokens | join(" ")) \(.matches[0].path) \(.generation)"' "$Q/query?fmt=json&q=refund+policy")"
same "k" 3 "$(wc -l <"$Q/query?q=page&k=3")"
same "k and fmt in the first line" "page1.md page2.md" "$(ask_index $'#k=2 fmt=paths\nhandbook page' | tr '\n' ' ' | sed 's/ $//')"
same "nothing found" "" "$(cat "$Q/query?q=unicorns")"
all=$(cat "$Q/query?q=handbook&k=8&fmt=paths")
same "after" "$(tail -n +4 <<<"$all")" "$(cat "$Q/query?q=handbook&k=8&fmt=paths&after=3")"
same "k counts from there" "$(sed -n 4,5p <<<"$all")" "$(cat "$Q/query?q=handbook&k=2&fmt=paths&after=3")"
same "after the last" "" "$(cat "$Q/query?q=handbook&after=8")"
same "path" "page7.md" "$(cat "$Q/query?q=handbook&fmt=paths&path=page7")"
same "path and after by write" "page5.md" "$(ask_index $'#fmt=paths path=page5 after=0\nhandbook')"
same "its own mode" "refund.md" "$(cat "$Q/query?q=refund+policy&fmt=paths&mode=rag-bm25-1")"
same "the generation" "$(awk '$1 == "generation" { print substr($2, 1, 12) }' "$Q/status")" "$(cut -f4 <<<"$hit")"
same "explain" "refund policy $(cut -f1 <<<"$hit")" \
	"$(awk -F'\t' '$1 == "" { terms = terms $2 " "; sum = $NF } END { sub("sum=", "", sum); print terms sum }' "$Q/query?q=refund+policy&explain=1")"
same "explain=0" "$hit" "$(cat "$Q/query?q=refund+policy&explain=0")"
no test -n "$(ls "$Q" | grep '?')"

# ---- J11-J15, by name and by write ----
python3 - "$Q" >"$T/out" <<'END'
import errno, os, sys
d = sys.argv[1]

def get(name):
    try:
        return open(os.path.join(d, name), 'rb').read().decode()
    except OSError as e:
        return errno.errorcode[e.errno]

def put(text):
    fd = os.open(d + '/query', os.O_RDWR)
    try:
        os.write(fd, text)
        return os.read(fd, 1 << 16).decode()
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        os.close(fd)

def expect(what, got, want, sentence=None):
    if got != want:
        print('%s: %r, not %r' % (what, got, want))
    error = open(d + '/error').read().strip()
    if sentence and sentence not in error:
        print('%s: error is %r' % (what, error))

for name, want, sentence in [
    ('query?', 'EINVAL', 'q missing'), ('query?x=1', 'EINVAL', 'q missing'), ('query?q', 'EINVAL', 'q missing'), ('query?k=3', 'EINVAL', 'q missing'),
    ('query?q=', '', None), ('query?q=a&q=b', 'EINVAL', 'q given twice'), ('query?q=cat&k=0', 'ERANGE', 'k: 1 to 1000'),
    ('query?q=cat&k=-1', 'ERANGE', 'k: 1 to 1000'), ('query?q=cat&k=1000000000', 'ERANGE', 'k: 1 to 1000'), ('query?q=cat&k=abc', 'EINVAL', 'k: 1 to 1000'),
    ('query?q=cat&fmt=xml', 'EINVAL', 'fmt: text, json or paths'), ('query?q=%ff', 'EILSEQ', 'not UTF-8'), ('query?q=%c3%28', 'EILSEQ', 'not UTF-8'),
    ('query?q=cat&after=-1', 'ERANGE', 'after: 0 to 100000'), ('query?q=cat&after=100001', 'ERANGE', 'after: 0 to 100000'), ('query?q=cat&after=x', 'EINVAL', 'after: 0 to'),
    ('query?q=cat&after=1&after=2', 'EINVAL', 'after given twice'), ('query?q=cat&explain=2', 'ERANGE', 'explain: 0 to 1'), ('query?q=cat&explain', 'EINVAL', 'unknown key'),
    ('query?q=cat&mode=kolm-2', 'EINVAL', 'was made with mode rag-bm25-1, not "kolm-2"'), ('query?q=cat&mode=', 'EINVAL', 'mode: index "docs"'),
    ('query?q=cat&path=%ff', 'EILSEQ', 'path is not UTF-8'), ('query?q=cat&mode=%ff', 'EILSEQ', 'mode is not UTF-8'), ('query?q=cat&path=a%00', 'EILSEQ', 'path holds a NUL'),
    ('query?q=cat&path=nothing&path=x', 'EINVAL', 'path given twice'), ('query?q=cat&path=nothing', '', None),
    ('query?q=the+and+of', '', None), ('query?q=%3f%21...', '', None), ('query?q=' + 'a' * 2000, 'ENAMETOOLONG', None), ('query?q=a/b', 'ENOTDIR', None),
]:
    expect(name[:40], get(name), want, sentence)
for name in ('query?q=cat%2&fmt=paths', 'query?q=cat%zz&fmt=paths', 'query?q=cat+%2&fmt=paths'):   # taken literally
    if get(name) not in ('', 'cat.txt\n'):
        print(name, repr(get(name)))
expect('a long question', put(b'#fmt=paths\n' + b'unicorns ' * 3000 + b'cat'), 'cat.txt\n')
expect('bad bytes', put(b'\xff\xfe'), 'EILSEQ', 'not UTF-8')
expect('bad options', put(b'#k=0\ncat'), 'ERANGE', 'k: 1 to 1000')
expect('too much', put(b'x' * 70000), 'EMSGSIZE', 'longer than')
expect('and then a good one', put(b'#fmt=paths\ncat\n'), 'cat.txt\n', 'ok')
END
same "J11-J15" "" "$(cat "$T/out")"

# ---- J10: a new index under readers ----
python3 - "$Q" "$R" "$T/docs" >"$T/out" <<'END'
import os, sys, threading
q, rag, docs = sys.argv[1:]
seen, stop = set(), threading.Event()

def reader(who):
    asked = 0
    while not stop.is_set():
        asked += 1  # a question nobody asked: it is searched for
        lines = open(q + '/query?q=handbook+r%dn%d&k=8' % (who, asked)).read().splitlines()
        seen.add((len(lines), tuple(sorted({l.split('edition ')[1].split('.')[0] for l in lines}))))

threads = [threading.Thread(target=reader, args=(who,)) for who in range(6)]
for t in threads: t.start()
for edition in ('second', 'third', 'fourth'):
    for n in range(1, 9):
        open('%s/page%d.md' % (docs, n), 'w').write('Page %d of the handbook. Every page is of edition %s.' % (n, edition))
    open(q + '/ctl', 'w').write('reindex\n')
    line = open(rag + '/wait').read()
    if ' index ok ' not in line: print(line)
    got = open(q + '/query?q=handbook&k=1').read()
    if edition not in got: print('after the index of the', edition, 'edition:', got)
stop.set()
for t in threads: t.join()
for n, editions in seen:
    if n != 8 or len(editions) != 1: print('a mixed answer:', n, editions)
END
same "J10" "" "$(cat "$T/out")"

# ---- attach ----
tuned plain
C=$M/plain/ctl
same "before" "no index" "$(ask plain "refund policy")"
poke "$C" ENOENT "attach nosuch" 'index "nosuch" not found' # J16
poke "$C" ENOENT detach "nothing is attached"
poke "$C" - "attach docs" ok
same "the sidecar" "rag-attach-1 docs" "$(jq -r '"\(.spec) \(.index_name)"' "$T/plain.kolm.rag.json")"
same "a recipe looks it up" '["refund.md"]' "$(ask plain "refund policy" | jq -c .)"
poke "$R/ctl" EINVAL "remove" "remove: needs an index"
poke "$R/ctl" - "remove docs" ok
no test -e "$Q"
same "J16 gone" "" "$(ask plain "refund policy")"
has "J16 and said" "$(cat "$M/plain/error")" 'index "docs" not found; detach or re-index'
echo '{"spec":"rag-attach-9","index_name":"docs"}' >"$T/plain.kolm.rag.json"
same "J16 another version" "" "$(ask plain "refund policy")"
has "J16 and said" "$(cat "$M/plain/error")" "of another version"
echo '{' >"$T/plain.kolm.rag.json"
same "J16 damaged" "" "$(ask plain "refund policy")"
has "J16 and said" "$(cat "$M/plain/error")" "damaged"
rm "$T/plain.kolm.rag.json"
ln -s /etc/passwd "$T/plain.kolm.rag.json"
echo "index $T/docs name=docs" >"$R/ctl" && cat "$R/wait" >/dev/null
poke "$C" ELOOP "attach docs" "$T/plain.kolm.rag.json" # J17
poke "$C" ELOOP detach "$T/plain.kolm.rag.json"
same "the link is still there" /etc/passwd "$(readlink "$T/plain.kolm.rag.json")"
rm "$T/plain.kolm.rag.json"
mkdir "$T/ro" && cp "$T/plain.kolm" "$T/ro/" && echo '{}' >"$T/ro/other.kolm.rag.json" && cp "$T/plain.kolm" "$T/ro/other.kolm"
if mount --bind "$T/ro" "$T/ro" 2>/dev/null && mount -o remount,ro,bind "$T/ro"; then
	out=$(KOLM_HOME=$S "$BUILD/bin/kolm" rag attach "$T/ro/plain.kolm" --index docs 2>&1) && fail "attached beside a read-only artifact"
	has "J17 read-only" "$out" "folder '$T/ro/' is read-only"
	no test -e "$T/ro/plain.kolm.rag.json"
	out=$(KOLM_HOME=$S "$BUILD/bin/kolm" rag detach "$T/ro/other.kolm" 2>&1) && fail "detached beside a read-only artifact"
	has "J17 read-only, detach" "$out" "folder '$T/ro/' is read-only"
	umount "$T/ro"
else
	echo "ran: J17's EROFS not tried: no right to mount"
fi
poke "$C" - "attach docs" ok
same "again" '["cat.txt"]' "$(ask plain "cat" | jq -c .)"
poke "$C" - detach ok
same "after" "no index" "$(ask plain "refund policy")"
# what the log was not told of did not happen: the index before goes on answering, a new one is not there
was=$(cat "$R/docs/manifest.json")
mv "$S/logs/tune.jsonl" "$T/log.kept"
echo "another page about refunds" >"$T/docs/more.md"
echo "index $T/docs name=docs" >"$R/ctl"
has "an index without its line" "$(cat "$R/wait")" "audit log was cut"
same "the index is the one before" "$was" "$(cat "$R/docs/manifest.json")"
has "and answers" "$(cat "$R/docs/query?q=refund&fmt=paths")" refund.md
echo "index $T/docs name=fresh" >"$R/ctl"
has "a first index without its line" "$(cat "$R/wait")" "audit log was cut"
no test -e "$R/fresh"
same "nothing is left" "" "$(ls -A "$S/rag" | grep -E 'fresh|docs\.[0-9]|last')"
mv "$T/log.kept" "$S/logs/tune.jsonl"
echo "index $T/docs name=docs" >"$R/ctl"
has "with its line" "$(cat "$R/wait")" " ok "
has "it is the new one" "$(cat "$R/docs/query?q=another&fmt=paths")" more.md
poke "$R/docs/ctl" EINVAL "remove other" "repeat the name"
ok eval 'echo "remove docs" >"$R/docs/ctl"'
no test -e "$R/docs"
finish
