# shellcheck shell=bash
# To be sourced. `side_by_side JOBS NAME...` calls `part NAME` for each, JOBS at a time, and prints what each printed, in
# order, when all have ended. Returns 1 if one failed.

# Several processes on few cores: the arrays of tests are small, and threads that wait for others by spinning take the
# time of those they wait for.
export OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1
# Without compiled files each process, and each that a test starts, compiles Keras and its backend anew: 20 s.
unset PYTHONDONTWRITEBYTECODE
outputs=$(mktemp -d) # of each part: NAME.txt, NAME.status, NAME.seconds
trap 'rm -rf "$outputs"' EXIT

side_by_side() {
    local jobs=$1 name status=0
    shift
    for name in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
        { SECONDS=0; part "$name" > "$outputs/$name.txt" 2>&1; echo $? > "$outputs/$name.status"
          echo "$SECONDS" > "$outputs/$name.seconds"; } &
    done
    wait
    for name in "$@"; do
        echo "== $name, $(cat "$outputs/$name.seconds") s"
        cat "$outputs/$name.txt"
        [ "$(cat "$outputs/$name.status")" = 0 ] || status=1
    done
    return $status
}

has() { # MODULE: whether it is installed
    "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"
}
