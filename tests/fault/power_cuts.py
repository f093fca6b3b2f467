#!/usr/bin/env python3
"""power_cuts CUTS SEED DIR - a store on a loop-mounted ext4 while a storm of changes runs; the file system is shut down at a random moment (what was not on
the disk is gone), mounted again, repaired. Everything that was acknowledged is there, HEAD and head.prev are of one state. Needs root and loop devices."""
import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time

CUTS, SEED, DIR = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
BUILD = os.environ["BUILD"]
RNG = random.Random(SEED)
IMG, MNT, STORE, ART = DIR + "/img", DIR + "/disk", DIR + "/disk/store", DIR + "/shout.kolm"
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2
SLUG = STORE + "/tune/demo"


def fail(text):
    print(f"FAILED seed {SEED}: {text}")
    sys.exit(1)


def skip(text):
    print(f"power cuts skipped, {CUTS} of them: {text}")
    sys.exit(77)


def mount():
    return subprocess.run(["mount", "-o", "loop", IMG, MNT], capture_output=True, text=True)


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


def check(lines, known):
    heads = {known["head"]}
    generation, opened = known["generation"], False
    for line in lines:
        w = line.split()
        if w[:2] == ["do", "head"]:
            heads = {(w[2], w[3]), (w[4], w[5])}
        elif w[:2] == ["ok", "head"]:
            heads = {(w[2], w[3])}
        elif w[:2] == ["do", "config"]:
            opened = True
        elif w[:2] == ["ok", "config"]:
            generation, opened = int(w[2]), False
        elif w[:2] == ["ok", "row"]:
            known["rows"].add(w[2])
        elif w[:2] == ["ok", "job"]:
            known["job"] = int(w[2])
    now = (read("HEAD"), read("head.prev"))
    if now not in heads:
        fail(f"HEAD and head.prev are {now}, may be {heads}")
    got = json.loads(read("tune-config.json"))["generation"]
    if got not in ({generation, generation + 1} if opened else {generation}):
        fail(f"the config is of generation {got}, acknowledged was {generation}")
    there = [json.loads(x)["input"].split()[1] for x in open(SLUG + "/captures.jsonl") if '"storm ' in x]
    if len(there) != len(set(there)) or not known["rows"] <= set(there):
        fail(f"{len(known['rows'] - set(there))} acknowledged rows are lost, {len(there) - len(set(there))} are there twice")
    jobs = {json.loads(x)["job"] for x in open(SLUG + "/jobs.jsonl")}
    if known["job"] and known["job"] not in jobs:
        fail(f"job {known['job']} was reserved and is not in the journal")
    known.update(head=now, generation=got)


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        skip("needs root and loop devices")
    os.mkdir(MNT)
    subprocess.run(["truncate", "-s", "96M", IMG], check=True)
    if subprocess.run(["mkfs.ext4", "-q", "-F", IMG], capture_output=True).returncode != 0 or mount().returncode != 0:
        skip("cannot make or mount an ext4 image")
    known = {"head": ("v2", "v1"), "generation": 1, "rows": set(), "job": 0}
    try:
        os.mkdir(STORE, 0o700)
        subprocess.run([BUILD + "/fault/storm", STORE, ART, "1", "1"], check=True, stdout=subprocess.DEVNULL)
        known["head"] = (read("HEAD"), read("head.prev"))
        subprocess.run(["sync", "-f", MNT], check=True)
        done = 0
        for cut in range(CUTS):
            storm = subprocess.Popen([BUILD + "/fault/storm", STORE, "-", str(RNG.randrange(1 << 30)), "0"], stdout=subprocess.PIPE, text=True)
            storm.stdout.readline()
            time.sleep(RNG.uniform(0, 0.3))
            fd = os.open(MNT, os.O_RDONLY)
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
            os.close(fd)
            storm.kill()
            lines = storm.stdout.read().splitlines()
            storm.wait()
            umount()
            if mount().returncode != 0:
                fail("the disk cannot be mounted again")
            fsck("--repair")
            if "every invariant holds" not in fsck():
                fail("a second look found something")
            done += sum(1 for x in lines if x.startswith("ok"))
            check(lines, known)
    finally:
        subprocess.run(["umount", "-l", MNT], capture_output=True)
    print(f"{CUTS} power cuts, {done} acknowledged changes, seed {SEED}: nothing lost, nothing mixed")


main()
