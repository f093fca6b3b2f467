#!/bin/bash
# rag through the mount: index, the query file, query?... names and what is wrong with them (BAD-INPUTS J01-J03, J11-J15), and that names do not pile up in the kernel.
. "$(dirname "$0")/lib.sh"
[ -x "$BUILD/bin/kolm-indexer" ] || skip "kolm-indexer is not built"
mkdir "$T/docs"
echo "our refund policy: money back within thirty days" >"$T/docs/refund.md"
echo "the office cat sleeps on the policy folder" >"$T/docs/cat.txt"
start
printf 'index %s name=docs\n' "$T/docs" >"$M/rag/ctl" || fail "index: $(cat "$M/rag/error")"
has wait "$(timeout 20 cat "$M/rag/wait")" "1 index ok"
D=$M/rag/docs
has "docs" "$(cat "$D/docs")" "refund.md"
has "status" "$(cat "$D/status")" "docs 2"
has "index.json" "$(cat "$D/index.json")" '"spec":"rag-bm25-1"'
has "jobs" "$(cat "$M/rag/jobs/1/verb" "$M/rag/jobs/1/exit")" "index"

q() { cat "$D/query?$1" 2>"$T/err"; }
same "best hit" refund.md "$(q 'q=refund+policy&k=1' | cut -f2)"
same "both" 2 "$(q 'q=policy' | wc -l)"
same "fmt=paths" "refund.md" "$(q 'q=refund&fmt=paths')"
has "fmt=json" "$(q 'fmt=json&q=refund')" '"generation":"'
same "percent, plus, blank" "$(q 'q=refund+policy')" "$(q 'q=refund%20policy')"
same "true size" "$(stat -c %s "$D/query?q=policy")" "$(q 'q=policy' | wc -c)"
if command -v busybox >/dev/null; then same "busybox" "$(q 'q=policy')" "$(busybox cat "$D/query?q=policy")"; else echo "ran: not with busybox: it is not installed"; fi
for nothing in 'q=' 'q=...' 'q=the+of' 'q=zebra' 'q=%2'; do # J11 J15 J13
	ok test -e "$D/query?$nothing"
	same "nothing for $nothing" "" "$(q "$nothing")"
done
refused() { # NAME ERRNO PART
	same "$1" "$2" "$(python3 -c "
import errno, os, sys
try: os.stat(sys.argv[1]); print('-')
except OSError as e: print(errno.errorcode[e.errno])" "$D/query?$1")"
	[ -z "$3" ] || has "error after $1" "$(cat "$D/error")" "$3"
}
refused '' EINVAL "q missing" # J11
refused 'x=1' EINVAL "q missing"
refused 'q' EINVAL "q missing"
refused 'k=3' EINVAL "q missing"
refused 'q=a&q=b' EINVAL "q given twice" # J12
refused 'q=a&k=0' ERANGE "k: 1 to 1000"
refused 'q=a&k=-1' ERANGE "k: 1 to 1000"
refused 'q=a&k=1000000000' ERANGE "k: 1 to 1000"
refused 'q=a&k=abc' EINVAL "k: 1 to 1000"
refused 'q=a&fmt=xml' EINVAL "fmt"
refused 'q=a&zz=1' EINVAL "unknown key"
refused 'q=%ff' EILSEQ "not UTF-8" # J13
refused 'q=%c3%28' EILSEQ "not UTF-8"
refused 'q=%00' EILSEQ ""
refused 'q=a/b' ENOTDIR "" # J14
refused "q=$(printf 'a%.0s' $(seq 1100))" ENAMETOOLONG ""
case " $(ls "$D" | tr '\n' ' ')" in *"?"*) fail "query names are listed" ;; esac

# the query file: a conversation on one open
exec 3<>"$D/query"
has "usage before a question" "$(head -c 5 <&3)" "write"
exec 3<>"$D/query"
echo 'refund policy' >&3
same "first question" refund.md "$(cat <&3 | head -n 1 | cut -f2)"
printf '#k=1 fmt=paths\ncat' >&3
same "second question" cat.txt "$(cat <&3)"
echo '#k=0' >&3
has "a bad one" "$(cat <&3 2>&1)" "Numerical result out of range"
has "its sentence" "$(cat "$D/error")" "k: 1 to 1000"
exec 3>&-

# J01-J03
poke "$M/rag/ctl" EINVAL "index $T/docs name=../x" "bad index name"
poke "$M/rag/ctl" ENAMETOOLONG "index $T/docs name=$(printf 'a%.0s' $(seq 300))" ""
poke "$M/rag/ctl" ENOENT "index $T/nosuch" "$T/nosuch"
poke "$M/rag/ctl" ENOTDIR "index $T/docs/cat.txt" "cat.txt"
poke "$M/rag/docs/ctl" EINVAL "remove doc" "remove docs"

# a change of the index shows in the next query; what was removed is gone
echo "a second note on refund matters" >"$T/docs/more.txt"
echo reindex >"$D/ctl" || fail reindex
timeout 20 cat "$M/rag/wait" >/dev/null
same "after reindex" 2 "$(q 'q=refund' | wc -l)"

# thousands of different questions leave no names in the kernel and none in the server
# (a sanitizer keeps what was freed)
room=4096
case $BUILD in *san*) room=400000 ;; esac
python3 - "$D" "$(server_pid)" $room <<'END' || fail "query names pile up"
import os, sys, time
d, pid, room = sys.argv[1:]
rss = lambda: int([l for l in open('/proc/%s/status' % pid) if l.startswith('VmRSS')][0].split()[1])
for i in range(500): open(os.path.join(d, 'query?q=warm%d' % i)).read()
before = rss()
for i in range(3000): open(os.path.join(d, 'query?q=word%d' % i)).read()
for i in range(1000): os.stat(os.path.join(d, 'query?q=seen%d' % i))
for _ in range(200): # the names go when the notifier comes round to them
    if rss() - before < int(room): sys.exit(0)
    time.sleep(0.05)
raise SystemExit('%d KiB, then %d' % (before, rss()))
END
echo "remove docs" >"$M/rag/ctl" || fail remove
no test -e "$D"
finish
