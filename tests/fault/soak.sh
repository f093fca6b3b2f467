# writers, promotions, queries, evals and the watch on one mount, for a minute (8 hours with LONG=1)
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/mounted.py soak "$(amount 60 28800)" "$SEED" "$D"
