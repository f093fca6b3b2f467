# the store survives SIGKILL of server and trainer at random moments: 120 rounds
exec python3 "$(dirname "$0")/kill_loop.py" 120
