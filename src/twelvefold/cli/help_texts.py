"""The text below the arguments in the help of each command."""

DESCRIPTION = "Agentic workflows as twelve-factor processes on the MySQL you already have."
EPILOG = """\
examples:
  twelvefold chat                             the built-in workflow; no configuration needed
  twelvefold run "I want to learn Python"     one turn; prints the answer
  twelvefold run --thread conv_… - <next.txt  continue a conversation
  WORKFLOWS=shop:workflow twelvefold chat     your own workflow, from ./shop.py

Settings are environment variables; `twelvefold settings` lists them. For local work, variables are
also read from the file .env in the working directory; the environment takes precedence.

exit status: 0 success, 1 failure, 2 bad usage or settings, 75 not finished or try again, 130
interrupted by Ctrl-C, 141 broken pipe (SIGPIPE)
"""
RUN_EPILOG = """\
examples:
  twelvefold run "Which courses teach SQL?"
  echo "Enrol me in the first one" | twelvefold run --thread conv_… -
  twelvefold run --json "Which courses teach SQL?" | jq -r .answer
  twelvefold run --image receipt.png --file order.pdf "Do these match?"

exit status: 0 completed, 1 failed, or a tool raised an exception, 75 waiting for a person, or can
be resumed
"""
WEB_EPILOG = """\
HOST and PORT set the address (http://127.0.0.1:8000); TLS_CERT and TLS_KEY enable HTTPS. Clients
on other machines need an API key: twelvefold keys create NAME. SIGTERM shuts down gracefully.
"""
WORKER_EPILOG = """\
Any number of workers can share a database. SMTP_URL and MAIL_FROM configure mail. On SIGTERM a
worker accepts no new runs, finishes its current steps within GRACE_S and releases its runs.
With --until-idle, for cron and serverless jobs, it also ends when nothing is left to do. It does
not wait for a person's answer, or for a run that another process holds.
"""
OUTBOX_EPILOG = """\
examples:
  twelvefold outbox list --state dead         messages that are no longer retried
  twelvefold outbox retry ID                  retry one message now
  twelvefold outbox retry --dead              retry all dead messages now
"""
PRUNE_EPILOG = """\
The age of a conversation is that of its last journal entry. A conversation whose run is not over is
kept, however long it waits; cancel the run first. One with forks is kept as long as the forks are.
"""
CHAT_EPILOG = """\
Ctrl-C cancels the current turn and keeps the conversation; /help lists the commands. If standard
input is not a terminal, each of its lines is a turn.
"""
SETTLE_EPILOG = """\
The process died during a call that cannot be undone. Check whether the call happened, then record
its outcome:
  twelvefold runs settle resp_… --call 12.0 --done --result "sent at 10:02"
  twelvefold runs settle resp_… --call 12.0 --retry
  twelvefold runs settle resp_… --call 12.0 --failed --result "the printer was off"
"""
LIST_EPILOG = """\
examples:
  twelvefold runs list --failed --since 1h
  twelvefold runs list --workflow support --principal ann --status waiting
  twelvefold runs list --search "connection refused" --json | jq -r .run
"""
RETRY_EPILOG = """\
The new run follows the old one in the same conversation, for the same principal: the model reads
what that run has done. Only the last run of a conversation can be retried; fork others.
  twelvefold runs retry resp_… --detach       prints the id of the new run
"""
FOLLOW_EPILOG = """\
Waits while the run waits or the database is unavailable. Ctrl-C ends this command, not the run.

exit status: 0 completed, 1 ended otherwise, 130 after Ctrl-C
"""
USAGE_EPILOG = """\
Days are in UTC. A run counts on the day on which it ended; its sub-workflows count as their own.
The cost is empty if no price is known, and with MODELS.
  twelvefold usage --by principal --since 30d
"""
APPROVE_EPILOG = """\
`twelvefold runs show ID` prints the call with all its arguments, and the command to answer it.
"""
QUESTIONS_EPILOG = """\
Questions of tools that wait for this person, newest first, also those of other principals' runs.
  twelvefold runs questions --as bob
  twelvefold runs answer resp_… blue --call 4.0 --as bob
"""
ANSWER_EPILOG = """\
`twelvefold runs show ID` prints the question, the type of its answer, and this command. --as has to
name the person whom the question asks, by default the principal of the run.
examples:
  twelvefold runs answer resp_… blue --call 4.0
  twelvefold runs answer resp_… '{"seats": 2}' --call 4.0
"""
SIGNAL_EPILOG = """\
Each workflow and principal has keys of its own. An event is kept for 30 days, so it may come before
a run waits for it. The first delivery counts; exit status 1: the event was sent before.
  twelvefold signal payment:123 '{"amount": 12}' --workflow shop --principal ann
"""
BUDGETS_EPILOG = """\
A budget bounds what model calls spend in a day or a month. When it is used up, new
requests are refused and runs in progress fail; with --over wait, runs wait until it renews.

examples:
  twelvefold budgets set all --usd 50                       all runs, $50 a day
  twelvefold budgets set principal:ann --tokens 2000000 --window month
  twelvefold budgets set principal:ann workflow:support --usd 1 --over wait
  twelvefold budgets remove principal:ann
"""

KEYS_EPILOG = """\
A key acts for one principal and can read only that principal's data. Its scopes allow more:
  runs      start and continue conversations and runs, cancel them, delete them
  approve   answer requests for approval and the questions of tools
  signal    send events to runs of the principal that wait for them
  admin     see and change the runs of all principals, and the outbox; for operators
A program with `--scope runs` alone cannot approve its own calls. Only a hash of the key is stored.

examples:
  twelvefold keys create shop-web                       for the principal shop-web, all but admin
  twelvefold keys create ann-bot --principal ann --scope runs
  twelvefold keys create ops --scope admin --scope approve
  OPENAI_API_KEY=$(twelvefold keys create ann)          standard output has the key only
  twelvefold keys create clerk --workflow support --tool find_order --expires 90d
"""
COMPLETION_EPILOG = """\
examples:
  twelvefold completion bash >~/.local/share/bash-completion/completions/twelvefold
  twelvefold completion zsh >"${fpath[1]}/_twelvefold"
  twelvefold completion fish >~/.config/fish/completions/twelvefold.fish
"""
FACTORS_EPILOG = """\
examples:
  twelvefold factors                          all twelve, in about a minute
  twelvefold factors VI IX --json             two of them, one JSON object per line

Starts real processes of this release in parallel on temporary databases. On a server these are
schemas named tw_factors_…, which the user of DATABASE_URL must be allowed to create; they are
dropped at the end. The checks bring their own model server. If SMTP_URL is set, one message is sent
through it to MAIL_FROM.

exit status: 0 no factor failed (a factor may be not claimed here, or inconclusive on a busy
machine), 1 a factor failed
"""
