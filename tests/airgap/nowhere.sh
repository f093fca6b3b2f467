#!/bin/bash
# nowhere.sh - the loop three times: as it is, in an empty network namespace whose packet counters must stay at zero, and with our programs under a tracer that must see no
# socket made but pairs without a name. All three must come out the same. Needs strace; user and network namespaces.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build} MODEL=${MODEL:-${KOLM_MODELS:-$HOME/.cache/kolm-models}/SmolLM2-135M-Instruct-Q4_1.gguf}
work=$(mktemp -d /tmp/kolm-nowhere.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0
wrong() { echo "FAILED: $*"; failed=1; }

timeout 240 bash tests/airgap/loop.sh "$work/here" >"$work/here.out" 2>"$work/here.err" || { wrong "the loop itself"; tail "$work/here.err" "$work/here.out"; }

timeout 240 unshare -n bash -c 'bash tests/airgap/loop.sh "$1/apart" >"$1/apart.out" 2>"$1/apart.err"; rc=$?; cat /proc/net/dev >"$1/dev"; exit $rc' - "$work" ||
	{ wrong "the loop in an empty network namespace"; tail "$work/apart.err"; }
diff "$work/here.out" "$work/apart.out" || wrong "without a network something else came out"
# name, then 16 counters: bytes, packets, errors, ... in, and out
awk 'NR > 2 { links++; for (i = 2; i <= NF; i++) sum += $i } END { exit !(links >= 1 && sum == 0) }' "$work/dev" ||
	{ wrong "a packet was sent or received"; cat "$work/dev"; }

TRACE="strace -f -qq --seccomp-bpf -e trace=%network,execveat -e signal=none -A -o $work/trace" timeout 400 bash tests/airgap/loop.sh "$work/traced" \
	>"$work/traced.out" 2>"$work/traced.err" || { wrong "the loop under a tracer"; tail "$work/traced.err"; }
diff "$work/here.out" "$work/traced.out" || wrong "under a tracer something else came out"
# what was made
grep -E '^[0-9]+ +(socket|socketpair|accept4?)\(.*\) += [0-9]' "$work/trace" | grep -v 'socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC' >"$work/made" &&
	{ wrong "a socket was made"; head "$work/made"; }
# what was tried: by the canary's probes before each eval, and by nobody else
tried=$(grep -cE '^[0-9]+ +socket\(' "$work/trace")
probes=$(grep -cE 'execveat\(.*"--probe", "(inet6?|unix|netlink|packet|vsock|xdp|alg|bluetooth|can|tipc)"' "$work/trace")
[ "$tried" -eq "$probes" ] && [ "$probes" -gt 0 ] || wrong "$tried sockets were asked for, $probes by the canary's probes"
pairs=$(grep -cE '^[0-9]+ +socketpair\(AF_UNIX, SOCK_SEQPACKET' "$work/trace")
[ $failed -eq 0 ] && echo "the loop came out the same three times; no packet; no socket but $pairs pairs; $tried attempts by the canary, all refused"
exit $failed
