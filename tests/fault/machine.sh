# a minute of a server whose allocations fail, and its start among a hundred thousand revisions
out=$(ALL=1 bash "$(dirname "$0")/../mount/machine.sh" 2>&1) || { echo "$out"; exit 1; }
echo "machine: ${out#ran: }"
