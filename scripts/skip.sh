# shellcheck shell=bash
# skip NEED REASON: logs that a leg of the tests, or a part of it, cannot run here. Ends the script when it is
# required. The variables are those of tests/kit.
skip() {
  echo "skipped: $0 needs $1: $2"
  if [ -n "${FRAMELANE_SKIP_LOG:-}" ]; then
    printf '%s\t%s\t%s\n' "$1" "$0" "$2" >>"$FRAMELANE_SKIP_LOG"
  fi
  case "${FRAMELANE_REQUIRE_ALL:-0}:,${FRAMELANE_MAY_LACK:-}," in
    1:*",$1,"*) ;;
    1:*)
      echo "error: cannot skip $0: FRAMELANE_REQUIRE_ALL is set; it needs $1: $2" >&2
      exit 1
      ;;
  esac
}
