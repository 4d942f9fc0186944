"""What the help of each command says below its arguments."""

DESCRIPTION = "Agentic workflows as twelve-factor processes on the MySQL you already have."
EPILOG = """\
examples:
  twelvefold chat                             the built-in workflow; nothing to set up
  twelvefold run "I want to learn Python"     one turn, the answer on standard output
  twelvefold run --thread conv_… - <next.txt  go on with a conversation
  WORKFLOWS=shop:workflow twelvefold chat     a workflow of your own, from ./shop.py

Settings are environment variables; `twelvefold settings` lists them. For local work a file .env
in the working directory is read, which never overrides the environment.

exit status: 0 done, 1 failed, 2 bad usage or settings, 75 not over yet or try again, 130 ended by
Ctrl-C, 141 whoever read the output has left
"""
RUN_EPILOG = """\
examples:
  twelvefold run "Which courses teach SQL?"
  echo "Enrol me in the first one" | twelvefold run --thread conv_… -
  twelvefold run --json "Which courses teach SQL?" | jq -r .answer

exit status: 0 completed, 1 failed, or a tool raised an exception, 75 waits for a person, or can
be resumed
"""
WEB_EPILOG = """\
HOST and PORT say where (http://127.0.0.1:8000), TLS_CERT and TLS_KEY make it https. Whoever can
reach it from elsewhere needs a key: twelvefold keys create NAME. SIGTERM ends it in good order.
"""
WORKER_EPILOG = """\
As many workers as you like may share a database. SMTP_URL and MAIL_FROM say how mail leaves.
SIGTERM: takes nothing new, finishes the steps in hand within GRACE_S, gives its runs back.
"""
OUTBOX_EPILOG = """\
examples:
  twelvefold outbox list --state dead         what nobody tries again by itself
  twelvefold outbox retry ID                  try it again now
  twelvefold outbox retry --dead              try all of those again now
"""
PRUNE_EPILOG = """\
That goes by a conversation's last entry. One that waits for a person's answer for as long is
removed, too; one that others were forked from stays as long as they do.
"""
CHAT_EPILOG = """\
Ctrl-C stops the run and keeps the conversation; /help lists what else can be typed. Where standard
input is no terminal, each of its lines is a turn.
"""
SETTLE_EPILOG = """\
A call that cannot be undone was under way when its process died. Find out whether it happened:
  twelvefold runs settle resp_… --call 12.0 --done --result "sent at 10:02"
  twelvefold runs settle resp_… --call 12.0 --retry
  twelvefold runs settle resp_… --call 12.0 --failed --result "the printer was off"
"""
APPROVE_EPILOG = """\
`twelvefold runs show ID` has the call and its arguments whole, and the line to answer with.
"""
KEYS_EPILOG = """\
A key acts for one principal: it reads what is that principal's, and nothing else. Beside that
  runs      begins conversations and runs, goes on with them, cancels and deletes them
  approve   answers the calls that wait for approval
so a program that has `--scope runs` alone cannot allow its own calls. Only the key's hash is kept.

examples:
  twelvefold keys create shop-web                       for the principal shop-web, both scopes
  twelvefold keys create ann-bot --principal ann --scope runs
  OPENAI_API_KEY=$(twelvefold keys create ann)          the key alone is on standard output
"""
FACTORS_EPILOG = """\
examples:
  twelvefold factors                          all twelve, in about a minute
  twelvefold factors VI IX --json             two of them, a JSON object a line

Starts real processes of this release, beside each other, on databases of their own: on a server
schemas named tw_factors_…, which DATABASE_URL's user has to be allowed to make; they are dropped at
the end. A model's server is played by the checks. Where SMTP_URL is set, one letter is sent through
it, to MAIL_FROM.

exit status: 0 no factor failed (one may be not claimed here, or inconclusive on a busy machine),
1 a factor failed
"""
