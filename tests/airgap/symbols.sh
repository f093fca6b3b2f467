#!/bin/bash
# symbols.sh [BIN-FOLDER] - what every program is linked with and which calls of libc it makes, against allowed.txt; that the Internet's address families are
# named in one source file only; that no shipped program has the switch of the ablation builds. Prints what is not allowed; exit 0 when there is nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=${1:-${BUILD:-build}/bin}
list=tests/airgap/allowed.txt
failed=0
wrong() { echo "not allowed: $*"; failed=1; }

allowed() { # PROGRAM KIND NAME
	awk -v p="$1" -v k="$2" -v n="$3" '$1 !~ /^#/ && ($1 == p || $1 == "*") && $2 == k && ($3 == n || $3 == "*") { found = 1 } END { exit !found }' $list
}

undefined() { nm -D --undefined-only "$1" | awk '{ sub(/@.*/, "", $2); print $2 }'; }

reaching='socket|socketpair|connect|bind|listen|accept4?|send|sendto|sendm?msg|recv|recvfrom|recvm?msg|shutdown|[gs]etsockopt|getsockname|getpeername'
reaching="$reaching|getaddrinfo|getnameinfo|gethost.*|getserv.*|getproto.*|getnet.*|getifaddrs|if_.*|_*res_.*|ns_.*|dn_.*|rcmd.*|rexec.*|inet_.*|clnt.*|svc.*"
reaching="$reaching|open_?log|v?syslog|dlm?open|exec[a-z]*|fexecve|posix_spawnp?|system|popen|p?fork|vfork|clone|syscall|ptrace|mount|umount2?|setns|unshare"
reaching="$reaching|chroot|getpw.*|getgr.*|initgroups"

seen=0
for program in "$bin"/kolm*; do
	name=$(basename "$program")
	case $name in *.*) continue ;; esac
	seen=$((seen + 1))
	for library in $(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		allowed "$name" library "$library" || wrong "$name is linked with $library"
	done
	while read -r library path; do
		if undefined "$path" | grep -qxE 'socket|connect|getaddrinfo|gethostbyname' && [ "$library" != libc.so.6 ]; then
			allowed "$name" inner "$library" || wrong "$name brings $library along, which can connect"
		fi
	done < <(ldd "$program" | awk '$3 ~ /^\// { print $1, $3 }')
	for call in $(undefined "$program" | grep -xE "$reaching" | grep -v '^getgrgid_r$'); do
		allowed "$name" call "$call" || wrong "$name calls $call"
	done
	grep -qaE 'KOLM_ABLATE|wall_is_ablated' "$program" && wrong "$name has the switch of tests/airgap"
done
[ $seen -ge 6 ] || wrong "$bin holds only $seen programs"

# one place knows of the Internet: the list of what leaves the machine
for file in $(grep -rlE '\b(AF|PF)_(INET6?|VSOCK|PACKET)\b|sockaddr_in' --include=*.[ch] kolmfs rag trainer tools); do
	[ "$file" = kolmfs/runner/sandbox_walls.c ] || wrong "$file names an address family of the network"
done
exit $failed
