#!/bin/bash
# BAD-INPUTS A01-A26: every bad line gets its errno and its sentence, on the same descriptor and in `error`, and changes nothing.
. "$(dirname "$0")/lib.sh"
slug one
start
C=$M/one/ctl
digest() { (cd "$S" && find . -type f ! -name '.lock' ! -name '.*.lock' -exec sha256sum {} + | LC_ALL=C sort | sha256sum); }
before=$(digest)

# A01
: >"$C" || fail "A01: an empty write"
has "A01 reading gives the usage" "$(cat "$C")" "promote vN [force] [id=WORD]"
for tail in '' '\n'; do
	[ -n "$tail" ] && poke "$C" EINVAL '  \n \n' "empty command" # A02
	poke "$C" EINVAL "   $tail" "empty command"
	poke "$C" EINVAL "frobnicate$tail" 'unknown command "frobnicate"' # A03
	poke "$C" EINVAL "frobnicate$tail" 'known: step eval '
	poke "$C" EINVAL "promote$tail" "promote: needs a revision"      # A04
	poke "$C" EINVAL "promote v1 x$tail" "promote: too many arguments" # A05
	poke "$C" EINVAL "rollback now$tail" "rollback: too many arguments"
	poke "$C" EINVAL "step epoch=1$tail" 'unknown option "epoch"; did you mean "epochs"' # A06
	poke "$C" EINVAL "step epochs=1 epochs=2$tail" "epochs given twice"                   # A07
	poke "$C" EINVAL "promote\\0v1$tail" "NUL byte at 7"                                  # A10
	for bad in '\xc3(' '\xf5\x80\x80\x80' '\x80'; do                                      # A11
		poke "$C" EILSEQ "eval $bad$tail" "not UTF-8 at byte 5"
	done
	poke "$C" EINVAL "set a \\x1b[2J$tail" "control character" # A12
	poke "$C" EINVAL "set a b\\rc$tail" "control character"
	poke "$C" EINVAL "set a b\\x07c$tail" 'set a b\x07c'
	poke "$C" EINVAL "prom$tail" 'unknown command "prom"' # A14
	poke "$C" EINVAL "ote v1$tail" 'unknown command "ote"'
	poke "$C" EINVAL "promote v1; rm -rf /$tail" 'bad revision "v1;"' # A20
	poke "$C" EINVAL "promote \$(id)$tail" 'bad revision "$(id)"'
	poke "$C" EINVAL "promote \`id\`$tail" 'bad revision "`id`"'
	for n in 1e1 0x10 +1 1.0 '\xd9\xa1' ' 1' ''; do # A21
		poke "$C" EINVAL "step epochs=$n$tail" "epochs: whole number expected"
	done
	for n in 0 -1 1001 99999999999999999999; do # A22
		poke "$C" ERANGE "step epochs=$n$tail" "epochs: 1 to 1000"
	done
	for n in nan inf -inf; do # A23
		poke "$C" EDOM "step lr=$n$tail" "lr: finite number expected"
	done
	for n in 0 -2e-4 2 1e-400; do # A24
		poke "$C" ERANGE "step lr=$n$tail" "lr: above 0 and below 1"
	done
	for n in 0 -8 4097; do # A25
		poke "$M/ctl" ERANGE "init /nowhere/a.kolm base=/nowhere/b rank=$n$tail" "rank: 1 to 512"
	done
	poke "$M/ctl" ERANGE "init /nowhere/a.kolm base=/nowhere/b alpha=0$tail" "alpha:"
	poke "$C" EINVAL "promote 'v1$tail" "unfinished quote" # A26
	poke "$C" EINVAL "promote v1\\\\$tail" "unfinished quote"
done
# A09
big=$(python3 -c "print('#' * 4097, end='')")
poke "$C" EMSGSIZE "$big" "command longer than 4096 bytes"
python3 - "$C" <<'END' || fail "A09: 16 MiB"
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
try:
    os.write(fd, b'x' * (16 << 20))
    sys.exit(1)
except OSError as e:
    sys.exit(e.errno != errno.EMSGSIZE)
END
# on the root and rag too: what is not absolute, what is ours
poke "$M/ctl" EINVAL "init a.kolm base=/x" "absolute path"
poke "$M/ctl" EINVAL "init $M/README base=/x" "inside this mount" # B08
poke "$M/ctl" EINVAL "init $T/./x/..//mnt/one/HEAD base=/x" "inside this mount"
ln -s "$M" "$T/link"
poke "$M/ctl" EINVAL "init $T/link/README base=/x" "inside this mount"
poke "$M/rag/ctl" EINVAL "index $M/one" "inside this mount"
poke "$M/rag/ctl" EINVAL "index docs" "absolute path"
poke "$M/rag/ctl" EINVAL "index" "index: needs a folder"
same "nothing changed" "$before" "$(digest)"

# A08: the first line runs once, the second is refused, the third does not run
python3 - "$C" >"$T/out" <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
lines = b'capture on\nfrobnicate\nwatch on\n'
n = os.write(fd, lines)
print(n, os.read(fd, 4096).decode().strip())
try:
    os.write(fd, lines[n:])
    print('taken')
except OSError as e:
    print(errno.errorcode[e.errno])
END
same "A08 short count" "11" "$(sed -n 's/ .*//;1p' "$T/out")"
has "A08 sentence" "$(sed -n 1p "$T/out")" 'line 2: unknown command "frobnicate"'
same "A08 retry" EINVAL "$(sed -n 2p "$T/out")"
has "A08 first line ran" "$(cat "$M/one/status")" "captures_on yes"
has "A08 third line did not run" "$(cat "$M/one/status")" "watch off"

# A13: offsets, append and second commands mean nothing special
for way in 'pwrite(fd, b"capture off\n", 100)' 'write(os.open(p, os.O_WRONLY | os.O_APPEND), b"capture on\n")' 'write(fd, b"capture off\n")'; do
	python3 -c "
import os, sys
p = sys.argv[1]; fd = os.open(p, os.O_RDWR)
os.write(fd, b'# a comment\n\ncapture on\r\n'); os.$way" "$C" || fail "A13: $way"
done
has "A13 ran" "$(cat "$M/one/status")" "captures_on no"
same "A13 error is ok again" ok "$(cat "$M/one/error")"
printf "capture 'on'" >"$C" || fail "quoted word, no line feed"
has "it ran" "$(cat "$M/one/status")" "captures_on yes"

# A15
same A15 EBADF "$(python3 -c "
import errno, os, sys
try: os.write(os.open(sys.argv[1], os.O_RDONLY), b'x')
except OSError as e: print(errno.errorcode[e.errno])" "$C")"
# A16, A17, A19
python3 - "$C" "$M/one" >"$T/out" <<'END'
import errno, mmap, os, sys
c, d = sys.argv[1:]
fd = os.open(c, os.O_RDWR)
j = lambda n: os.path.join(d, n)
for what, fn in {
    'truncate': lambda: os.truncate(c, 5), 'rename': lambda: os.rename(c, j('x')), 'rename onto': lambda: os.rename(j('HEAD'), c),
    'unlink': lambda: os.unlink(c), 'link': lambda: os.link(c, j('x')), 'chmod': lambda: os.chmod(c, 0o777), 'chown': lambda: os.chown(c, 1, 1),
    'mknod': lambda: os.mknod(j('x')), 'mkdir': lambda: os.mkdir(j('x')), 'symlink': lambda: os.symlink('a', j('x')), 'rmdir': lambda: os.rmdir(j('jobs')),
    'rmdir slug': lambda: os.rmdir(d), 'setxattr': lambda: os.setxattr(c, 'user.a', b'1'), 'vim': lambda: open(j('.ctl.swp'), 'w'),
    '4913': lambda: open(j('4913'), 'w'), 'ctl~': lambda: open(j('ctl~'), 'w'), '#ctl#': lambda: open(j('#ctl#'), 'w'),
    'HEAD to prev': lambda: os.rename(j('HEAD'), j('head.prev')), 'prev elsewhere': lambda: os.rename(j('head.prev'), j('x')),
    'unlink captures': lambda: os.unlink(j('captures.jsonl')), 'truncate captures': lambda: os.truncate(j('captures.jsonl'), 3),
}.items():
    try:
        fn(); print(what, 'done')
    except OSError as e:
        if e.errno != errno.EPERM: print(what, errno.errorcode[e.errno])
try:
    mmap.mmap(fd, 4, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE); print('mmap done')
except OSError as e:
    if e.errno != errno.ENODEV: print('mmap', errno.errorcode[e.errno])
END
same "A16 A17 A19: not refused by EPERM" "" "$(cat "$T/out")"

# A18: many handles; others are still served
python3 - "$C" "$M/one/HEAD" <<'END' || fail A18
import os, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10000), hard))
fds = []
try:
    while len(fds) < 10000: fds.append(os.open(sys.argv[1], os.O_RDWR))
except OSError as e:
    pass
os.close(fds.pop())
assert open(sys.argv[2]).read() == 'v1\n'
END
# 32 clients at once: each gets its own answer
for i in $(seq 32); do (exec 7<>"$C"; echo "bogus$i" >&7; grep -q "\"bogus$i\"" <&7 || echo "bogus$i") >>"$T/many" 2>/dev/null & pids="$pids $!"; done
wait $pids
same "32 clients at once" "" "$(cat "$T/many")"
# the server's own log names who was refused, escaped
has "the server's log" "$(grep -a bogus1 "$T/log" | head -n 1)" "refused one/: uid="
no grep -aq $'\x1b' "$T/log"
finish
