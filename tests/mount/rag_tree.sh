#!/bin/bash
# An index as files: doc/ is the tree that was indexed, terms/ is looked up and lists nothing; whole-tree tools end, and nothing piles up in kernel or server.
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/docs/sub/deep" "$T/two"
echo "our refund policy: money back within thirty days" >"$T/docs/refund.md"
printf 'the cat of the refund office\r\nsleeps' >"$T/docs/sub/cat.txt"
echo "deep zebra refund refund" >"$T/docs/sub/deep/zebra.md"
printf 'a name that is odd' >"$T/docs/sub/"$'new\nline \xff.txt'
printf '# Money\n\nRefunds take days.\n\n# Parcels\n\nThey are shipped.\n' >"$T/two/shop.md"
start
D=$M/rag/docs
poke "$M/rag/ctl" - "index $T/docs name=docs" "job "
has "indexed" "$(cat "$M/rag/wait")" " ok "
poke "$M/rag/ctl" - "index $T/two name=two mode=kolm-2" "job "
has "indexed" "$(cat "$M/rag/wait")" " ok "

# ---- doc/ ----
same "listed" "refund.md sub" "$(ls "$D/doc" | tr '\n' ' ' | sed 's/ $//')"
same "below" "cat.txt deep" "$(ls "$D/doc/sub" | grep -v new | tr '\n' ' ' | sed 's/ $//' | sed 's/line.*//;s/ $//')"
for f in refund.md sub/cat.txt sub/deep/zebra.md; do
	ok cmp "$D/doc/$f" "$T/docs/$f"
	same "size of $f" "$(stat -c %s "$T/docs/$f")" "$(stat -c %s "$D/doc/$f")"
done
same "an odd name" "a name that is odd" "$(cat "$D/doc/sub/"$'new\nline \xef\xbf\xbd.txt')" # U+FFFD, as the index has it
for bad in nothing sub/nothing refund.md/x ../docs/doc/x sub/cat.tx "$(printf 'a%.0s' $(seq 300))"; do no cat "$D/doc/$bad"; done
no sh -c "echo x >'$D/doc/refund.md'"
no mkdir "$D/doc/more"
ok grep -qR zebra "$D/doc"
same "found by grep" "$D/doc/sub/deep/zebra.md" "$(grep -Rl zebra "$D/doc")"
same "tar" "$(cd "$T/docs" && tar cf - refund.md sub/deep | tar xOf - | sha256sum)" "$(cd "$D/doc" && tar cf - refund.md sub/deep | tar xOf - | sha256sum)"
ok cp -r "$D/doc" "$T/copy"
same "a copy" "" "$(diff -r --exclude='new*' "$T/docs" "$T/copy")"
same "of kolm-2, line by line" "" "$(diff "$T/two/shop.md" <(cat "$M/rag/two/doc/shop.md"; echo))"
ok sh -c "cat '$D/doc/refund.md' >/dev/null; rm '$T/docs/refund.md'; test -s '$D/doc/refund.md'" # the index keeps it

# ---- terms/ ----
same "nothing is listed" "" "$(ls "$D/terms")"
same "a term" "term refund|df 3|idf $(awk 'BEGIN { printf "%.4f", log(1 + 1.5 / 3.5) }')|0 1 refund.md|1 1 sub/cat.txt|2 2 sub/deep/zebra.md|" "$(tr '\t\n' ' |' <"$D/terms/refund")"
same "its size is true" "$(wc -c <"$D/terms/refund")" "$(stat -c %s "$D/terms/refund")"
same "any case" "$(cat "$D/terms/refund")" "$(cat "$D/terms/Refund")"
for bad in unicorn the "$(printf 'a%.0s' $(seq 200))" .git ..; do no cat "$D/terms/$bad"; done
no sh -c "echo x >'$D/terms/refund'"
same "a stem, and its lines" "term refund|df 1|idf $(awk 'BEGIN { printf "%.4f", log(1 + 0.5 / 1.5) }')|0 1 shop.md 1-7|" "$(tr '\t\n' ' |' <"$M/rag/two/terms/refunds")"

# ---- a new index shows at once ----
echo "quite another zebra" >"$T/docs/sub/deep/zebra.md"
exec 7<"$D/doc/sub/deep/zebra.md"
echo reindex >"$D/ctl" && cat "$M/rag/wait" >/dev/null
same "the new text" "quite another zebra" "$(cat "$D/doc/sub/deep/zebra.md")"
same "what was open is still the old one" "deep zebra refund refund" "$(cat <&7)"
exec 7<&-
no test -e "$D/doc/refund.md"
same "the new count" "df 1" "$(sed -n 2p "$D/terms/refund")"

# ---- many: lists, stats and reads leave nothing ----
python3 - "$T/docs" <<'END'
import os, sys
for i in range(4000):
    at = '%s/many/%02d' % (sys.argv[1], i // 100)
    os.makedirs(at, exist_ok=True)
    open('%s/%d.txt' % (at, i), 'w').write('word%d and others\n' % i)
END
echo reindex >"$D/ctl" && cat "$M/rag/wait" >/dev/null
timeout 60 python3 - "$D" "$(server_pid)" <<'END' || fail "names pile up"
import os, sys, time
d, pid = sys.argv[1:]
rss = lambda: int(open('/proc/%s/statm' % pid).read().split()[1]) * 4


def inodes():
    try:
        return next((int(l.split()[1]) for l in open('/proc/slabinfo') if l.startswith('fuse_inode')), None)
    except OSError:
        return None


def walk():
    n = 0
    for at, _, files in os.walk(d + '/doc'):
        for f in files:
            path = os.path.join(at, f)
            assert os.stat(path).st_size == len(open(path, 'rb').read())
            n += 1
    return n


def terms(n):
    for i in range(n):
        open('%s/terms/word%d' % (d, i)).read()


terms(300), walk()
time.sleep(0.3)
before = rss(), inodes()
start = time.monotonic()
n = walk()
took = time.monotonic() - start
terms(4000)
assert n == 4003, n
for _ in range(100):
    now = rss(), inodes()
    if now[0] < before[0] + 8192 and (now[1] is None or now[1] < before[1] + 1000):
        print('ran: %d documents stat and read in %.1f s; %d -> %d KiB, fuse inodes %s -> %s' % (n, took, before[0], now[0], before[1], now[1]))
        sys.exit(0)
    time.sleep(0.05)
raise SystemExit('KiB, inodes were %s, are %s' % (before, now))
END
echo "remove docs" >"$D/ctl" || fail remove
no test -e "$D/doc"
finish
