# the power is cut at random moments under a store on ext4, xfs and btrfs. In a mount namespace of its own: a copy of the mount in somebody else's would keep the
# dead file system alive
. tests/fault/lib.sh
make_shout
cuts() {
	unshare --mount --propagation private python3 tests/fault/power_cuts.py "$@"
}

for fs in ext4 xfs btrfs; do
	[ "$PART" = 1 ] || [ "$fs" = ext4 ] || break # the sample of make check needs no other mkfs
	if [ "$fs" = ext4 ]; then n=$(amount 100 10000); else n=$(amount 20 1000); fi
	in_pieces "$n" 500 cuts "$fs"
done
paste -sd ';' "$D/said"
