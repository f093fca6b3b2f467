# lib.sh - what the mount tests share; sourced, never run for itself. bash.
#
# A test gets a folder of its own ($T), a store ($S) and a mountpoint ($M) in it, real servers on real mounts, and a clean-up that runs whatever happens. It ends by `finish`:
# exit 0 passed, 1 failed (what differed is printed), 77 skipped (the reason is the last line).

[ "${BASH_SOURCE[0]}" = "$0" ] && exit 0

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
SHARED=${SHARED:-$ROOT/../shared}
export BUILD SHARED
KOLMFS=$BUILD/bin/kolmfs
FAILED=0

skip() { echo "skipped: $*"; exit 77; }
die() { echo "$*"; exit 1; }

[ -x "$KOLMFS" ] || die "$KOLMFS is not built"
[ -r /dev/fuse ] && [ -w /dev/fuse ] || die "no usable /dev/fuse on this machine: the mount tests cannot run"

T=$(mktemp -d "${TMPDIR:-/tmp}/kolmfs-test.XXXXXX") || die "no temporary folder"
S=$T/store
M=$T/mnt
mkdir -m 700 "$S"
mkdir "$M"

# every server of this test, by the mounts below $T
unmount_all() {
	local at
	while read -r _ at _; do
		case $at in "$T"/*) stop "$at" ;; esac
	done < <(tac /proc/mounts)
}

cleanup() {
	exec 3>&- 4>&- 5>&- 6>&-
	[ -n "$(jobs -p)" ] && kill $(jobs -p) 2>/dev/null
	unmount_all
	rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# start [STORE MOUNTPOINT [OPTION...]]: a server in the background; returns when the root answers
start() {
	local store=${1:-$S} at=${2:-$M}
	shift $(($# > 2 ? 2 : $#))
	"$KOLMFS" "$@" "$store" "$at" 2>>"$T/log" || { cat "$T/log"; die "kolmfs did not start"; }
}

server_pid() { awk '$1 == "pid" { print $2 }' "${1:-$M}/status"; }

# gone PID: wait until a process has ended (a zombie has)
gone() {
	local i state
	for i in $(seq 600); do
		state=$(awk '{ print $3 }' "/proc/$1/stat" 2>/dev/null)
		[ -z "$state" ] || [ "$state" = Z ] && return 0
		sleep 0.05
	done
	return 1
}

# stop [MOUNTPOINT]: end its server, and do not go on before it ended
stop() {
	local at=${1:-$M} pid
	pid=$(timeout 5 awk '$1 == "pid" { print $2 }' "$at/status" 2>/dev/null)
	if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then
		gone "$pid" || kill -KILL "$pid"
	fi
	grep -qs " $at fuse.kolmfs" /proc/mounts && umount -l "$at" 2>/dev/null
	return 0
}

# slug NAME: a slug as another tool of the same layout would have left it: v0 and v1, HEAD v1 after v0. Needs no model. Before `start`.
slug() {
	local d=$S/tune/$1 v
	mkdir -p "$d/revisions/v0" "$d/revisions/v1"
	cat >"$d/tune-config.json" <<-END
	{
	  "artifact": "$1.kolm",
	  "base_model": "/nowhere/base.gguf",
	  "rank": 8,
	  "alpha": 16,
	  "dropout": 0,
	  "captures_on": false,
	  "gate": { "k_min": 0.85, "require_improvement": true },
	  "watch": { "threshold_rows": 200, "sample_size": 32 }
	}
	END
	for v in v0 v1; do
		echo "{\"r\":8,\"revision\":\"$v\"}" >"$d/revisions/$v/adapter_config.json"
		head -c 200000 /dev/zero | tr '\0' "${v#v}" >"$d/revisions/$v/adapter_model.safetensors"
	done
	echo v1 >"$d/HEAD"
	echo v0 >"$d/head.prev"
	chmod -R go= "$S"
}

# ---- what must hold ----

fail() { FAILED=$((FAILED + 1)); echo "FAILED: $*"; }

# same WHAT EXPECTED GOT
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

# has WHAT TEXT PART
has() { case $2 in *"$3"*) ;; *) fail "$1: '$2' does not contain '$3'" ;; esac; }

# ok COMMAND...: succeeds
ok() { "$@" || fail "exit $?: $*"; }

# no COMMAND...: fails
no() { "$@" 2>/dev/null && fail "should have failed: $*"; return 0; }

# poke FILE ERRNO TEXT-PRINTF PART: one write(2) to a command file; its errno's name ("-": success) and, read back on the same descriptor and in the `error` beside it, the sentence
poke() {
	local got=() i
	[ -n "$POKER_PID" ] || coproc POKER { python3 -u "$ROOT/tests/mount/poke.py"; }
	printf '%s\0%s\0' "$1" "$3" >&"${POKER[1]}"
	for i in 0 1 2; do IFS= read -r -u "${POKER[0]}" got[$i] || die "poke.py ended"; done
	same "write of '${3:0:60}'" "$2" "${got[0]}"
	has "reply to '${3:0:60}'" "${got[1]}" "$4"
	[ "$2" = - ] || has "error after '${3:0:60}'" "${got[2]}" "$4"
}

# holds PID FILE: it has it open
holds() { ls -l "/proc/$1/fd" 2>/dev/null | grep -q -- "$2\$"; }

# soon COMMAND...: becomes true within ten seconds; what another process did is looked at once a second
soon() {
	local i
	for i in $(seq 500); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.02
	done
	fail "did not become true: $*"
}

finish() {
	[ $FAILED -eq 0 ] && exit 0
	[ -s "$T/log" ] && { echo "--- the server's log"; tail -n 20 "$T/log"; }
	exit 1
}
