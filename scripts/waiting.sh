# shellcheck shell=bash
# Progress of a long command; source this file.
#
#   waiting TEXT LOG COMMAND…
#
# Prints TEXT and runs COMMAND, an external command, with its output in LOG. Meanwhile it prints the elapsed
# time and the last line of LOG: each second on a terminal, else every 15 s. Returns the status of COMMAND.

waiting() {
  local text=$1 log=$2 status=0 ticker
  shift 2
  mkdir -p "$(dirname "$log")"
  : >"$log"
  printf '%s\n' "$text"
  show_progress "$log" $$ &
  ticker=$!
  "$@" >"$log" 2>&1 || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  if [ -t 1 ]; then printf '\r\033[K'; fi
  return "$status"
}

show_progress() { # LOG, PID of the script
  local started=$SECONDS elapsed line
  # The redirection matters when this function is killed: a left-over sleep must not keep a pipe open.
  while sleep 1 >/dev/null 2>&1; do
    kill -0 "$2" 2>/dev/null || return 0
    elapsed=$((SECONDS - started))
    line=$(tail -c 400 "$1" | tr '\r' '\n' | tr -cd '[:print:]\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-60) ||
      line=
    if [ -t 1 ]; then
      printf '\r\033[K  %d s  %s' "$elapsed" "$line"
    elif [ $((elapsed % 15)) = 0 ]; then
      printf '  %d s  %s\n' "$elapsed" "$line"
    fi
  done
}
