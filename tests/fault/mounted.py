#!/usr/bin/env python3
"""mounted kill CYCLES SEED DIR | mounted soak|haste SECONDS SEED DIR - a real mount under load: eight writers of rows, promotions and rollbacks, queries, readers of HEAD.

kill: the server gets SIGKILL at a random moment, every third time after a lazy unmount, and is started again on the same mountpoint, CYCLES times: it and its clients end within two
seconds, no mount is left, what was acknowledged is there, a repair has nothing left to do. soak: nothing is killed, watch is on and evals run; p99 of a HEAD read, growth of memory
and of descriptors after the first hour (of a shorter soak: after its first quarter) are printed and have limits. haste: a soak whose clients wait a tenth as long, so that what the server
keeps of each thing it did shows in a tenth of the time; the first eighth settles, and no latency is judged.
"""
import json
import os
import random
import subprocess
import sys
import threading
import time

MODE, AMOUNT, SEED, DIR = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
BUILD, MODEL = os.environ["BUILD"], os.environ.get("MODEL", "")
STORE, MNT, ART = DIR + "/store", DIR + "/mnt", DIR + "/shout.kolm"
SLUG, TUNE = MNT + "/shout", STORE + "/tune/shout"
ENV = dict(os.environ, KOLM_HOME=STORE)
WRITERS, INPUTS = 8, 20000  # inputs come again, as in production: what the server keeps of each different one has its size within the first hour
QUESTIONS = 5000  # more than the server keeps answers or names of: they are searched for
DEAD_SEC, FDS = 2, 16
PACE = 10 if MODE == "haste" else 1
# a short soak shares the machine with others and still fills its tables: there the limits only tell a fault from a figure
IS_LONG = AMOUNT * PACE > 2 * 3600
P99_MS, GROWTH_KIB = (5, 2048) if IS_LONG else (25, 8192)
server = None
stop = threading.Event()
lock = threading.Lock()
acked = [bytearray() for _ in range(WRITERS)]  # of writer w: was row n acknowledged
counts, wrong = {}, []


def fail(text):
    print(f"FAILED seed {SEED}: {text}", flush=True)
    end()
    os._exit(1)  # a client that hangs is not waited for


def kolm(*words):
    p = subprocess.run([BUILD + "/bin/kolm", *words], env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if p.returncode != 0:
        fail(f"kolm {words}: {p.stdout}{p.stderr}")
    return p.stdout


def start():
    global server
    server = subprocess.Popen([BUILD + "/bin/kolmfs", "-f", STORE, MNT], stdout=subprocess.DEVNULL, stderr=open(DIR + "/server.log", "a"))
    until = time.time() + 20
    while time.time() < until:
        if server.poll() is not None:
            fail("the server ended: " + open(DIR + "/server.log").read()[-500:])
        try:
            open(MNT + "/version").close()
            return
        except OSError:
            time.sleep(0.01)
    fail("the mount did not come up again")


def end():
    if server and server.poll() is None:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
    # a mount whose server hangs would hang umount as well
    subprocess.Popen(["umount", "-l", MNT], stderr=subprocess.DEVNULL)


def write(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, text.encode()) == len(text)
    finally:
        os.close(fd)


def load(name, fn, pause):
    """call fn again and again; what fails because nobody answers is not counted"""
    while not stop.is_set():
        try:
            fn()
            with lock:
                counts[name] = counts.get(name, 0) + 1
        except OSError:
            stop.wait(0.002)
        stop.wait(pause)


def writer(who):
    def one():
        n = len(acked[who])
        acked[who].append(0)
        if write(SLUG + "/captures.jsonl", json.dumps({"input": f"{who} {n % INPUTS}", "output": f"{who} {n}"}) + "\n"):
            acked[who][n] = 1
    return one


turn = 0


def heads():
    global turn
    turn += 1
    write(SLUG + "/ctl", "rollback\n" if turn % 2 else f"promote v{turn // 2 % 3} force\n")


asked = 0


def query():
    global asked
    asked += 1
    if "refunds" not in open(f"{MNT}/rag/docs/query?q=refunds+{asked % QUESTIONS}&k=3").read():
        wrong.append("a query answered nothing")


def read_head():
    text = open(SLUG + "/HEAD").read()
    if text not in ("v0\n", "v1\n", "v2\n"):
        wrong.append(f"HEAD read {text!r}")


def check():
    """every acknowledged row is in the file, none is there twice"""
    seen = [bytearray(len(a)) for a in acked]
    for line in open(TUNE + "/captures.jsonl"):
        who, n = map(int, json.loads(line)["output"].split())
        if seen[who][n]:
            fail(f"row {who} {n} is there twice")
        seen[who][n] = 1
    lost = sum(a > s for x, y in zip(acked, seen) for a, s in zip(x, y))
    if lost or wrong:
        fail(f"{lost} acknowledged rows are lost {wrong[:3]}")


def setup():
    os.mkdir(MNT)
    os.mkdir(DIR + "/docs")
    for n in range(20):
        open(f"{DIR}/docs/{n}.md", "w").write(f"# page {n}\nrefunds take {n} days\n")
    kolm("tune", "init", "--artifact", ART, "--base", MODEL)
    kolm("rag", "index", DIR + "/docs", "--name", "docs")
    for n in (1, 2):
        subprocess.run(["cp", "-r", TUNE + "/revisions/v0", f"{TUNE}/revisions/v{n}"], check=True)


def begin():
    is_soak = MODE != "kill"
    jobs = [("row", writer(i), 0.05 / PACE if is_soak else 0.005) for i in range(WRITERS)]
    jobs += [("head change", heads, 2 / PACE if is_soak else 0.01), ("query", query, 0.02 / PACE)]
    jobs.append(("eval", lambda: write(SLUG + "/ctl", "eval v1\n"), 10 / PACE) if is_soak else ("HEAD read", read_head, 0.005))
    threads = [threading.Thread(target=load, args=j, daemon=True) for j in jobs]
    for t in threads:
        t.start()
    return threads


def finish(threads, seconds):
    stop.set()
    until = time.time() + seconds
    for t in threads:
        t.join(max(0, until - time.time()))
        if t.is_alive():
            fail(f"a client hangs for more than {seconds} s")
    stop.clear()


def kill(rng):
    threads = begin()
    time.sleep(rng.uniform(0.02, 0.5))
    if rng.randrange(3) == 0:
        subprocess.run(["umount", "-l", MNT], check=True)
    server.kill()
    begun = time.time()
    try:
        server.wait(DEAD_SEC)
    except subprocess.TimeoutExpired:
        fail(f"a killed server lives on for more than {DEAD_SEC} s")
    finish(threads, DEAD_SEC)
    return time.time() - begun


def mounts():
    return sum(f" {MNT} " in line for line in open("/proc/self/mounts"))


def kills():
    rng, slowest = random.Random(SEED), 0
    for _ in range(AMOUNT):
        slowest = max(slowest, kill(rng))
        start()
        if mounts() != 1:
            fail(f"{mounts()} mounts on one place")
        check()
    end()
    kolm("fsck", "--repair")
    if "every invariant holds" not in kolm("fsck"):
        fail("a repair left something")
    print(f"{AMOUNT} kills of a mounted server, {counts}, seed {SEED}: mounted again each time, nothing lost; server and clients ended within {slowest:.2f} s")


# a process of its own: what is measured is the mount, not the other clients' turn in one interpreter
HEADS = """
import array, os, sys, time
took = array.array("d")
until = time.time() + float(sys.argv[2])
while time.time() < until:
    t = time.perf_counter()
    text = open(sys.argv[1]).read()
    took.append(time.perf_counter() - t)
    assert text in ("v0\\n", "v1\\n", "v2\\n"), text
    time.sleep(0.01)
took = sorted(took)
print(len(took), took[len(took) * 99 // 100] * 1000)
"""


def memory():
    status = dict(x.split(":", 1) for x in open(f"/proc/{server.pid}/status"))
    return int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{server.pid}/fd"))


def soak():
    settle = AMOUNT / 8 if MODE == "haste" else min(3600, AMOUNT / 4)
    write(SLUG + "/ctl", "set watch.threshold_rows 1000000\nwatch on\n")
    threads = begin()
    reader = subprocess.Popen([sys.executable, "-c", HEADS, SLUG + "/HEAD", str(AMOUNT)], stdout=subprocess.PIPE, text=True)
    time.sleep(settle)
    first = memory()
    said = reader.communicate()[0].split()
    last = memory()
    finish(threads, 20)
    check()
    end()
    if "every invariant holds" not in kolm("fsck"):
        fail("the store is not sound")
    if len(said) != 2:
        fail("the reader of HEAD ended early")
    for name in ("row", "head change", "query", "eval"):
        if counts.get(name, 0) == 0:
            fail(f"no {name} succeeded: {counts}")
    text = f"{MODE} {AMOUNT} s, {counts}, {said[0]} HEAD reads with p99 {float(said[1]):.2f} ms, RSS {first[0]} -> {last[0]} KiB, fds {first[1]} -> {last[1]}"
    if (MODE == "soak" and float(said[1]) >= P99_MS) or last[0] - first[0] >= GROWTH_KIB or last[1] > first[1] + FDS:
        fail(f"past a limit ({P99_MS} ms, {GROWTH_KIB} KiB, {FDS} descriptors): {text}")
    print(text)


setup()
start()
kills() if MODE == "kill" else soak()
