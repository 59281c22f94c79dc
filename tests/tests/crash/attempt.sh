# Sourced by the script of every task of the crash test. Everything that is said goes to one file outside the
# state directory, by one `write` of one line at its end, so the file is the order in which things happened:
#
#   <what> <engine> <execution> <task run> <attempt> <process>
#
# HOME ends with the number of the engine that started the process: the test gives each engine another one.

say() {
  printf '%s\n' "$1 ${HOME##*/} $OPERON_EXECUTION $OPERON_TASK_RUN $OPERON_ATTEMPT ${2:-$$}" >>"$SIDE/journal"
}

# An artifact that shows whose it is, and that it is complete.
produce() {
  yes "$OPERON_EXECUTION $OPERON_TASK_RUN $OPERON_ATTEMPT" | head -n 2000 >out.txt
}

# Fails unless the file of another task is complete.
consume() {
  for file in "$@"; do
    [ "$(wc -l <"$file")" -eq 2000 ]
  done
}

say start
sleep "$PAUSE"
