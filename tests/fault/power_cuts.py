#!/usr/bin/env python3
"""power_cuts FS CUTS SEED DIR - a store on a loop-mounted ext4, xfs or btrfs while a storm of changes runs; at a random moment all is lost that was not on the
disk; it is mounted again and repaired. Everything that was acknowledged is there, HEAD and head.prev are of one state. Needs root and loop devices."""
import fcntl
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time

FS, CUTS, SEED, DIR = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
BUILD = os.environ["BUILD"]
RNG = random.Random(SEED)
IMG, MNT, STORE, ART = DIR + "/disks/img", DIR + "/disk", DIR + "/disk/store", DIR + "/shout.kolm"
# MiB; how it is made; ways to mount it, one of them at random each time
KINDS = {
    "ext4": (96, ["mkfs.ext4", "-q", "-F"], ["data=ordered", "data=journal", "data=writeback"]),
    "xfs": (320, ["mkfs.xfs", "-q", "-f"], ["rw"]),
    "btrfs": (160, ["mkfs.btrfs", "-q", "-f"], ["rw"]),
}
IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2  # of ext4 and xfs
FICLONE = 0x40049409
SLUG = STORE + "/tune/demo"


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    sys.exit(1)


def skip(text):
    print(f"power cuts on {FS} skipped, {CUTS} of them: {text}")
    sys.exit(77)


def mount():
    return subprocess.run(["mount", "-o", "loop," + RNG.choice(KINDS[FS][2]), IMG, MNT], capture_output=True, text=True)


def make(fs, image):
    """an empty file system in a file"""
    if shutil.which(KINDS[fs][1][0]) is None:
        skip(f"there is no {KINDS[fs][1][0]}")
    subprocess.run(["truncate", "-s", f"{KINDS[fs][0]}M", image], check=True)
    return subprocess.run([*KINDS[fs][1], image], capture_output=True).returncode == 0


def cut():
    """Nothing gets to the disk from now on. btrfs cannot be shut down: its image, on an xfs then, is cloned in an instant."""
    if FS != "btrfs":
        fd = os.open(MNT, os.O_RDONLY)
        fcntl.ioctl(fd, IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        os.close(fd)
        return
    with open(IMG, "rb") as now, open(IMG + ".cut", "wb") as then:
        fcntl.ioctl(then, FICLONE, now.fileno())


def umount():
    for _ in range(50):
        if subprocess.run(["umount", MNT], capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    fail("cannot unmount")


def fsck(*words):
    p = subprocess.run([BUILD + "/bin/kolm", "fsck", *words], env=dict(os.environ, KOLM_HOME=STORE), capture_output=True, text=True)
    if p.returncode != 0:
        fail(f"fsck {words}: {p.stdout}{p.stderr}")
    return p.stdout


def read(name):
    with open(f"{SLUG}/{name}") as f:
        return f.read().strip()


def check(before, across, known):
    """What was said before the cut must be there; what was said across it may be. ext4's shutdown is no real cut in this: a transaction that it aborts counts as
    ended, and an fsync that began before and asks after returns 0 (jbd2_complete_transaction)."""
    heads = {known["head"]}
    low = high = known["generation"]
    for at, line in enumerate(before + across):
        w, late = line.split(), at >= len(before)
        if w[:2] == ["do", "head"]:
            heads = (heads if late else set()) | {(w[2], w[3]), (w[4], w[5])}
        elif w[:2] == ["do", "config"]:
            high += 1
        elif late:
            continue
        elif w[:2] == ["ok", "head"]:
            heads = {(w[2], w[3])}
        elif w[:2] == ["ok", "config"]:
            low = high = int(w[2])
        elif w[:2] == ["ok", "row"]:
            known["rows"].add(w[2])
        elif w[:2] == ["ok", "job"]:
            known["job"] = int(w[2])
    now = (read("HEAD"), read("head.prev"))
    if now not in heads:
        fail(f"HEAD and head.prev are {now}, may be {heads}")
    got = json.loads(read("tune-config.json"))["generation"]
    if not low <= got <= high:
        fail(f"the config is of generation {got}, acknowledged was {low}")
    there = [json.loads(x)["input"].split()[1] for x in open(SLUG + "/captures.jsonl") if '"storm ' in x]
    if len(there) != len(set(there)) or not known["rows"] <= set(there):
        fail(f"{len(known['rows'] - set(there))} acknowledged rows are lost, {len(there) - len(set(there))} are there twice")
    jobs = {json.loads(x)["job"] for x in open(SLUG + "/jobs.jsonl")}
    if known["job"] and known["job"] not in jobs:
        fail(f"job {known['job']} was reserved and is not in the journal")
    known["rows"] |= set(there)
    known.update(head=now, generation=got)
    return sum(1 for x in across if x.startswith("ok row") and x.split()[2] not in there)


def drain(pipe):
    """what is in the pipe now"""
    text = b""
    while select.select([pipe], [], [], 0)[0]:
        piece = os.read(pipe.fileno(), 1 << 16)
        if not piece:
            break
        text += piece
    return text


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        skip("needs root and loop devices")
    os.mkdir(MNT)
    os.mkdir(DIR + "/disks")
    if FS == "btrfs" and not (make("xfs", DIR + "/outer") and subprocess.run(["mount", "-o", "loop", DIR + "/outer", DIR + "/disks"]).returncode == 0):
        skip("cannot make or mount an xfs image")
    if not make(FS, IMG) or mount().returncode != 0:
        skip(f"cannot make or mount an image of {FS}")
    known = {"head": ("v2", "v1"), "generation": 1, "rows": set(), "job": 0}
    try:
        os.mkdir(STORE, 0o700)
        subprocess.run([BUILD + "/fault/storm", STORE, ART, "1", "1"], check=True, stdout=subprocess.DEVNULL)
        known["head"] = (read("HEAD"), read("head.prev"))
        subprocess.run(["sync", "-f", MNT], check=True)
        done = unsaid = 0
        for _ in range(CUTS):
            storm = subprocess.Popen([BUILD + "/fault/storm", STORE, "-", str(RNG.randrange(1 << 30)), "0"], stdout=subprocess.PIPE, bufsize=0)
            storm.stdout.readline()
            time.sleep(RNG.uniform(0, 0.3))
            before = drain(storm.stdout)
            cut()
            storm.kill()
            across = storm.stdout.read()
            storm.wait()
            umount()
            if FS == "btrfs":
                os.rename(IMG + ".cut", IMG)
            if mount().returncode != 0:
                fail("the disk cannot be mounted again")
            fsck("--repair")
            if "every invariant holds" not in fsck():
                fail("a second look found something")
            # a line is one write(2), so none is cut by the drain
            done += before.count(b"ok ")
            unsaid += check(before.decode().splitlines(), across.decode().splitlines(), known)
    finally:
        subprocess.run(["umount", "-l", MNT, DIR + "/disks"], capture_output=True)
    print(f"{CUTS} power cuts on {FS}, {done} acknowledged changes, seed {SEED}: nothing lost, nothing mixed ({unsaid} rows said across a cut are not there)")


main()
