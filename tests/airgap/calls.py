"""calls.py TABLE TRACE - compare kolm-cell's table of system calls with what its locked threads did (strace -f --decode-pids=pidns)."""
import collections
import re
import sys

table = {}
for line in open(sys.argv[1]):
    name, verdict, ground, why = line.rstrip("\n").split("\t")
    table.setdefault(name, (verdict, ground))

locked = set()
seen = collections.Counter()
group = {}
for line in open(sys.argv[2], errors="replace"):
    m = re.match(r"(\d+) +(.*)", line)
    if not m:
        continue
    pid, what = m.groups()
    if what.startswith("execveat("):
        group[pid] = pid
    born = re.search(r"clone3?\b.* = \d+ /\* (\d+) in strace's PID NS \*/", what) or re.search(r"clone3 resumed.*/\* (\d+) in strace's PID NS \*/", what)
    if born and pid in group:
        group[born.group(1)] = group[pid]
    if re.match(r"seccomp\(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC\|", what) and pid in group:
        locked.add(group[pid])
        continue
    call = re.match(r"([a-z_0-9]+)\(", what)
    if call and group.get(pid) in locked:
        seen[call.group(1)] += 1

bad = 0
if len(locked) < 50:
    print("only %d locked cells were traced" % len(locked))
    bad = 1
for name, n in seen.items():
    if name not in table:
        print("a locked cell calls %s (%d times), which is not in its table" % (name, n))
        bad = 1
    elif table[name][1] == "facts":
        print("%s is seen (%d times); the table says %s" % (name, n, table[name][1]))
        bad = 1
for name, (verdict, ground) in table.items():
    if ground == "seen" and name not in seen and name != "ppoll":
        print("%s was not seen; the table says it is" % name)
        bad = 1
if not bad:
    print("%d cells, %d calls of %d kinds, all in the table" % (len(locked), sum(seen.values()), len(seen)))
sys.exit(bad)
