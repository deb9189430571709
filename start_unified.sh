#!/usr/bin/env bash
# Set up what is missing, then run the daemon.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./start_unified.sh [--background | --stop | --status | --help] [option of the daemon ...]

  (nothing)      run the daemon in the foreground; Ctrl-C ends it
  --background   run it detached; return when it is ready, or failed to become so
  --stop         end the running daemon, letting its sessions finish
  --status       tell whether it runs; exit status 0 when it does, 3 when not

The first start makes .venv, installs the package and fetches the models; later ones need no network.
Options go to the daemon: --port 9000, --host ADDRESS, --config FILE, --preset NAME, --set room.key=value.
Its log is logs/unified-voice-processor.log, its process id is in logs/unified-voice-processor.pid.
TEXT
}

# Where the script itself lies, whatever folder and symbolic link it was called through.
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
    target=$(readlink "$script")
    case $target in /*) script=$target ;; *) script=$(dirname "$script")/$target ;; esac
done
root=$(cd -P "$(dirname "$script")" && pwd)
python=$root/.venv/bin/python
log=$root/logs/unified-voice-processor.log
pid_file=$root/logs/unified-voice-processor.pid
ready_wait_s=60
stop_wait_s=30 # longer than the daemon's own grace time, which is 10 s unless configured

# Prints the process id of the running daemon; fails when there is none. A file that a crash left behind, or whose
# number now belongs to another program, counts as none.
running_pid() {
    local pid command
    { read -r pid <"$pid_file"; } 2>/dev/null || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    kill -0 "$pid" 2>/dev/null || return 1
    if [ -r "/proc/$pid/cmdline" ]; then
        command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    else
        command=$(ps -p "$pid" -o args=) || return 1
    fi
    case $command in *"-m alfred_voice serve"*) printf '%s\n' "$pid" ;; *) return 1 ;; esac
}

refuse_second_start() {
    local pid
    if pid=$(running_pid); then
        echo "error: Alfred Voice is already running (process $pid). See --status; end it with --stop." >&2
        exit 1
    fi
}

# Everything that a start needs. What decides which models are meant, and where they lie, is passed on.
set_up() {
    local settings=()
    while [ $# -gt 0 ]; do
        case $1 in
        --config | --preset | --set)
            [ $# -gt 1 ] && settings+=("$1" "$2") && shift
            ;;
        --config=* | --preset=* | --set=*) settings+=("$1") ;;
        esac
        shift
    done
    "$root/scripts/setup"
    mkdir -p "$root/logs"
    "$python" -P -m alfred_voice ${settings[@]+"${settings[@]}"} models pull --quiet-if-complete
}

run_in_foreground() {
    echo $$ >"$pid_file" # exec keeps the process id
    exec "$python" -P -m alfred_voice serve --log-file "$log" "$@"
}

run_in_background() {
    local begun=0 pid answer outcome=0
    [ -f "$log" ] && begun=$(wc -c <"$log")
    # The console goes to the log, and nothing else does: a crash before the logging is set up speaks only there.
    nohup "$python" -P -m alfred_voice serve "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    echo "$pid" >"$pid_file"
    answer=$("$python" -P "$root/scripts/ready.py" "$pid" "$ready_wait_s") || outcome=$?
    case $outcome in
    0)
        echo "Alfred Voice is ready (process $pid): talk at $answer/, watch it at $answer/monitor"
        return
        ;;
    1) echo "error: Alfred Voice (process $pid) is not ready after $ready_wait_s s, but runs on: $answer. See $log" >&2 ;;
    *)
        rm -f "$pid_file"
        echo "error: Alfred Voice did not start. The end of $log:" >&2
        tail -c "+$((begun + 1))" "$log" | tail -n 20 >&2
        ;;
    esac
    exit 1
}

stop() {
    local pid deadline
    if ! pid=$(running_pid); then
        rm -f "$pid_file"
        echo "Alfred Voice is not running."
        return
    fi
    kill -TERM "$pid"
    deadline=$((SECONDS + stop_wait_s))
    while running_pid >/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "error: process $pid is still finishing after $stop_wait_s s; the hard way: kill -KILL $pid" >&2
            exit 1
        fi
        sleep 0.1
    done
    rm -f "$pid_file"
    echo "Alfred Voice has ended (process $pid)."
}

status() {
    local pid answer
    if ! pid=$(running_pid); then
        echo "Alfred Voice is not running."
        exit 3
    fi
    if answer=$("$python" -P "$root/scripts/ready.py" "$pid"); then
        echo "Alfred Voice is running (process $pid) and ready: talk at $answer/, watch it at $answer/monitor"
    else
        echo "Alfred Voice is running (process $pid), but not ready: $answer"
    fi
}

action=foreground
arguments=()
for argument in "$@"; do
    case $argument in
    --background | --stop | --status) action=${argument#--} ;;
    --help | -h) usage && exit 0 ;;
    *) arguments+=("$argument") ;;
    esac
done

case $action in
stop | status) "$action" ;;
*)
    refuse_second_start
    set_up ${arguments[@]+"${arguments[@]}"}
    "run_in_$action" ${arguments[@]+"${arguments[@]}"}
    ;;
esac
