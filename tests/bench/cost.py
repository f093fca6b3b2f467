#!/usr/bin/env python3
"""cost.py CMD...: run it, then one line: exit status, wall seconds, processor seconds (its children too), peak memory in KiB, peak private memory in KiB.

The peak is what the kernel counts as resident, mapped files included. The private part (RssAnon and RssShmem of the process or of the largest below it) is looked at 200 times a
second, so a shorter peak may be missed. What CMD prints goes to standard error."""
import os, sys, time


def private(pid):
    kib = 0
    try:
        for line in open('/proc/%d/status' % pid):
            if line.startswith(('RssAnon:', 'RssShmem:')):
                kib += int(line.split()[1])
        for child in open('/proc/%d/task/%d/children' % (pid, pid)).read().split():
            kib = max(kib, private(int(child)))
    except (OSError, ValueError):
        pass
    return kib


start = time.monotonic()
pid = os.fork()
if pid == 0:
    os.dup2(2, 1)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    finally:
        os._exit(127)
peak = 0
while True:
    done, status, used = os.wait4(pid, os.WNOHANG)
    if done:
        break
    peak = max(peak, private(pid))
    time.sleep(0.005)
print('%d %.2f %.2f %d %d' % (os.waitstatus_to_exitcode(status), time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss, peak))
sys.exit(0)
