"""Every default on one page, with its unit in the name and its reason beside it.

"The ancestor" is the DISQUS Taskmaster of 2012.
"""

from typing import Final

PRODUCT_VERSION: Final = "0.1.0"  # of Taskmaster; setup.cfg and what slaves say about themselves read it from here

# The ancestor's port, on every interface, since nobody connects without the key. Slaves read 0.0.0.0 as this machine.
ADDRESS: Final = "tcp://0.0.0.0:3050"
GET_JOBS: Final = "get_jobs"  # as in the ancestor
HANDLE_JOB: Final = "handle_job"  # as in the ancestor
HANDLE_JOBS: Final = "handle_jobs"  # takes a list of them
HANDLE_RESULT: Final = "handle_result"
STATE_FOLDER: Final = ".taskmaster"  # in the working folder, so that two checkouts do not share a run by accident
NAMES_OFFERED: Final = 8  # functions listed where one is not found: enough to spot a typo, short enough to read
# Of a state folder's name, before the hash: together well below the 143 bytes that encrypted file systems allow.
STATE_LABEL_CHARACTERS: Final = 60

# The window: how far the head may run ahead of the watermark, which bounds the cost of a straggler or a crash.
# No-ops run 1.5 times as fast as with 100,000 jobs: those are only 10 ms of work, a few of the kernel's time slices.
# The window keeps bytes, not objects.
WINDOW_JOBS: Final = 1_000_000
WINDOW_BYTES: Final = 256 << 20  # 256 MiB of encoded payloads: what a small machine can spare when each job is large
SHARED_CURSOR_JOBS: Final = 1_000_000  # in a row: a checkpoint holds 8 bytes for each that is done, so 8 MB
UNGATED_JOBS: Final = 1024  # that a quick source may yield at most once it is to stop,
UNGATED_JOB_SECONDS: Final = 1e-6  # and how long each may take it: then it yields them in a millisecond
CURSORS_BYTES: Final = 2 << 20  # that go with a lease, for handlers that ask for theirs
# Of payloads not handed out yet: reading 256 MiB ahead halved the rate of 5 kB jobs, four leases cost a third of it.
READY_BYTES: Final = 16 << 20
JOB_BYTES: Final = 16 << 20  # of one job's encoded payload; put larger data into a file and yield its name

# Of jobs ahead of the slaves: what they take in so long, at the rate at which jobs were handed out of late.
LOOK_AHEAD_SECONDS: Final = 1.0
LOOK_AHEAD_JOBS: Final = 1024  # before any rate is known: more than a hundred slaves ask for at first
LOOK_AHEAD_LEAST_JOBS: Final = 64  # a few pulls' worth, however long a job takes
# The feeder.
OVERDUE_SECONDS: Final = 0.005  # pulled jobs wait at most this long for the rest of their slice: ten times a round trip
QUEUED_BYTES: Final = 4 << 20  # of encoded jobs that wait to be admitted: a few slices of large ones, all small ones

FOLLOW_SECONDS: Final = 0.2  # between two looks at a file that is followed: hardly a wait, and no load
CLOCK_SECONDS: Final = 10.0  # between two looks at the clock by a source that waits for a time: as late as it may be
# Of a folder, at once: 25 MB with all that belongs to them. A folder of ten million is listed 100 times, 4 s each.
LISTED_NAMES: Final = 100_000
# Of a table, in a query of its own: reading one takes milliseconds, and a round trip a small part of that.
PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 4 << 20  # of texts and bytes in a page; then it ends with the row that it has come to

# Leases.
# Of a slave's work: long compared with a 0.2 ms round trip, short for a person or the end of a run. In simulated fleets
# 10 ms need twice the requests, 0.5 s lengthen a run by up to 14 %, and between 20 and 100 ms little changes.
LEASE_SECONDS: Final = 0.05
# Of payloads: handling one message costs either end as much as copying a megabyte. Half of this costs 5 kB jobs a sixth
# of their rate; twice as much gains nothing.
LEASE_BYTES: Final = 2 << 20
# Of payloads on a slow line, to one slave in one answer: five round trips to the other side of the world, so that the
# line is empty for a sixth of the time at most; a quarter of what a person waits for a sign of life.
LINK_SECONDS: Final = 2.0
HELD_BYTES: Final = 8 << 20  # of payloads at a slave: four leases keep it busy; with two, no-ops lose 15 %
LEASE_LIFE_SECONDS: Final = 60.0  # without renewal; long, since C code that holds the interpreter lock blocks renewals
HEARTBEAT_SECONDS: Final = 5.0  # between renewals by a slave with nothing to report: 12 during the life of a lease
# The same once all jobs have been pulled: a slave that runs in vain what another has settled learns it before it is
# waited for. A thousand busy slaves then take 8 % of a core, when the master has nothing else to do.
HEARTBEAT_SECONDS_TAIL: Final = 0.5
QUIET_SECONDS: Final = 15.0  # without a message of a slave, before the master looks whether bytes move there
TRANSFER_SECONDS: Final = 5.0  # between two such looks: several in the life of a lease, on lines that pause
PARK_SECONDS: Final = 1.5  # a master holds an idle slave's request this long: 1,000 of them a second cost 4 % of a core
RECONNECT_GRACE_SECONDS_LOCAL: Final = 0.25  # from a dropped connection to a dead slave: time to open a new socket
RECONNECT_GRACE_SECONDS_REMOTE: Final = 2.0  # the same over a network, where connections drop on their own
# Beyond those, for the fleet of a slave to report how it died: it looks twenty times a second, and a loaded machine
# delays it. Without a report the death would count against no job.
DEATH_REPORT_SECONDS: Final = 0.5
DEATH_REPORT_TRIES_SECONDS: Final = 5.0  # then the master has acted on the lost connection: the report is of no use
HEARTBEAT_SECONDS_LEAST: Final = 0.05  # whatever a master asks for: constant renewals would be all that a slave does

# Backup attempts, at the end of a run, for jobs that are out for long.
BACKUP_MEDIANS: Final = 2  # times as long as others were: chance alone makes few jobs of the same kind so late
BACKUP_SECONDS: Final = 1.0  # and at least so long: less is not worth a second call of the handler
BACKUP_LOOK_SECONDS: Final = 0.1  # between two looks at all leases: 10,000 take a millisecond
BACKUP_SAMPLES: Final = 100  # jobs whose median is taken,
BACKUP_SAMPLE_SECONDS: Final = 0.01  # so long apart at least: of quick jobs the last second counts, not the last lease

# Attempts.
ATTEMPTS: Final = 3  # then the job goes to the failures file
RETRY_SECONDS: Final = 0.5  # before the second attempt; doubled for each further one
RETRY_SECONDS_MOST: Final = 30.0  # a waiting job holds the watermark, so a retry must not wait for long
# Whatever a handler asks for: a longer wait is another run's work, and holds the watermark meanwhile.
RETRY_AFTER_SECONDS_MOST: Final = 86_400.0
AGAIN_AT_ONCE: Final = 100  # failed jobs read from the failures file together, to be tried again
MAX_FAILURES: Final = "10%"  # of the jobs finished in this run, from MAX_FAILURES_SAMPLE of them on
MAX_FAILURES_SAMPLE: Final = 100  # fewer finished jobs say little about the rest

# A failure's texts, as slaves report them and the failures file keeps them.
MESSAGE_CHARACTERS: Final = 2000  # the start is kept: it says what is wrong, and the rest is often data
TRACEBACK_CHARACTERS: Final = 8000  # about 80 frames; the end is kept, which says what was raised and where
SHOWN_CHARACTERS: Final = 200  # of a payload, for people: one line on a wide terminal; all of it is kept as well
NAME_CHARACTERS: Final = 500  # of an exception's type, a handler or a slave: longer ones are not names

# The master's loop.
MESSAGES_AT_ONCE: Final = 100  # 6 ms, before it is the turn of the source, the clock and the state
EFFECTS_AT_ONCE: Final = 64  # 2 ms; together they move the mark of what was handed out once, and wake ZeroMQ once
# Between two turns, which are at most a second's wait apart: the master itself was stopped, paused or swapped out.
STANDSTILL_SECONDS: Final = 3.0
CREW_SECONDS: Final = 0.02  # between looks at its own slave processes: at each turn they took a tenth of its time
SHOW_SECONDS: Final = 0.2  # between stats for observers: often enough for a person, too rarely to cost anything
FAILURES_LOGGED: Final = 5  # with a line each: enough to see what is wrong

# A slave.
CONCURRENCY: Final = 10  # threads: most handlers wait for a network or a disk, and ten threads cost a no-op nothing
CONCURRENCY_ASYNC: Final = 100  # tasks or greenlets, a few kB each; the services they call may not bear a thousand
# The most that `auto` may find unless it is told: a thousand idle threads take 60 MB, and few services bear more.
CONCURRENCY_AUTO: Final = 1000
# The same of handlers that take batches. In threads it is one, so that a connection of the module's own is safe, and a
# database that writes for one at a time is not fought over; a slave has its next batch at hand.
CONCURRENCY_BATCHES: Final = 1
CONCURRENCY_BATCHES_ASYNC: Final = 10  # services that take batches mean to be asked less often
CONCURRENCY_MOST: Final = 10_000  # more must be a typo: the stacks of that many threads reserve 80 GB
BATCH_JOBS: Final = 100  # in a call: a commit or a request then costs a job a hundredth; a statement takes 999 values
BATCH_MOST_JOBS: Final = 100_000  # more must be a typo: a tenth of the window, for one call
BATCH_FILL_SECONDS: Final = 0.05  # that a job of a slow source waits at most for others of its batch: as for a lease
SLICE_SECONDS: Final = 0.002  # of work that a thread takes from the backlog at once: 40 times the cost of taking it
TEAR_DOWN_SECONDS: Final = 5.0  # for the threads of a slave to close what they have: as long as tm-run waits
REPORT_SECONDS: Final = 0.05  # how long settled jobs wait at most to be reported while the slave is busy
# The same while a thread is idle, since the window may be waiting for them. In simulated fleets with two jobs a thread,
# 50 ms cost 5 %, 10 ms 1 %, and less than 2 ms gains nothing.
REPORT_SECONDS_IDLE: Final = 0.002
REPLY_TIMEOUT_MS: Final = 2000  # of silence before a request is sent again: masters answer within PARK_SECONDS
# The same while an answer is arriving: where packets are lost, TCP may pause for some seconds. Asking again would throw
# away what has come.
STALL_SECONDS: Final = 10.0
ARRIVING_BYTES: Final = 4096  # of an answer with jobs: others are shorter
ARRIVING_PAUSE_SECONDS: Final = 1.0  # without a byte of it, before a report may take the place of the request
REPLY_TIMEOUT_MS_LEAST: Final = 100  # with less, a busy master would pass for a silent one
RETRIES: Final = 60  # requests, so two minutes of silence: a master may take that long to restart
# Those of tm-run: their master is their parent, with which they end. It is silent only while it is suspended itself, as
# after Ctrl-Z, and that may last any time.
RETRIES_OF_CHILDREN: Final = 1_000_000_000
REBUILD_AFTER: Final = 3  # unanswered requests before the socket is replaced: a malformed reply blocks a REQ for good
REPORT_RUNS: Final = 4000  # in each list of a request: two such lists fit HEADER_BYTES
DROP_RUNS: Final = 4000  # in a reply, and the rest in the next: 25,000 did not fit HEADER_BYTES, and no slave read them
REPORT_FAILURES: Final = 64  # failed attempts in a request,
REPORT_CHARACTERS: Final = 100_000  # and of their texts: in any alphabet they fit REPORT_BYTES
CANCEL_SECONDS: Final = 1.0  # for a cancelled job to end: a loop that a handler keeps for longer must be replaced
WATCH_SECONDS: Final = 0.05  # between two looks at what is running: what became slow is noticed within a lease's length
SLAVE_PROGRESS_SECONDS: Final = 0.5  # between two updates of a slave's progress line: often enough to read
PARENT_LOOK_SECONDS: Final = 1.0  # between two checks that the parent is alive, in case its pipe does not tell
LEAVING_SECONDS: Final = 10.0  # of silence once a slave is to end: the master may have ended first

# Limits on what the wire carries; a message over one is dropped and counted.
HEADER_BYTES: Final = 256 << 10
REPORT_BYTES: Final = 2 << 20  # a slave's whole frame: the texts of failures are cut to fit, results wait for the next
RESULT_BYTES: Final = 1 << 20  # of one result: larger data belongs into a file, and its name is the result
RESULTS_BYTES: Final = 512 << 10  # of results in a request: a message costs as much as copying a megabyte
BLOB_BYTES: Final = 64 << 20  # a master's frame: four of the largest jobs
FRAMES: Final = 2
FRAMES_KEPT: Final = 8  # of one message: those two and the routing frames; the rest is dropped while it is read
CURVE_BYTES: Final = 64  # added to a frame by encryption (33), with a margin
SLAVES: Final = 10_000  # sessions that a master keeps: ten times the measured number, 20 MB of memory

# Connections.
HANDSHAKE_SECONDS: Final = 5.0  # slow networks take one second; a silent stranger is disconnected
CONNECTIONS: Final = 65_536  # files that a master may open: more connections than one address can keep for 5 s
CONNECTIONS_FEW: Final = 256  # with fewer, the master logs how many slaves can connect
DESCRIPTORS_OWN: Final = 32  # of them for its state, sockets and standard streams; 19 were counted
# A machine that loses power or its network closes no connection. TCP then ends it within 60 s, the life of a lease;
# otherwise it stays open for ever, and a master that is full of such connections has no room for a new slave.
KEEPALIVE_IDLE_SECONDS: Final = 30  # of silence before the first probe: an idle slave sends something every 5 s anyway
KEEPALIVE_PROBE_SECONDS: Final = 10  # between probes
KEEPALIVE_PROBES: Final = 3  # without an answer: a network that recovers within half a minute loses nothing
UNACKNOWLEDGED_SECONDS: Final = 60  # for unconfirmed data, during which TCP does not probe; Linux allows 15 min
SOCKET_FILE_SECONDS: Final = 1.0  # between two looks for the file of an ipc address: cleaners of /tmp remove old ones
# Asked for before ZeroMQ does, which ends the process where it gets none.
LISTENER_FILES: Final = 16  # 10 of ZeroMQ, and some to save the state with
DIALER_FILES: Final = 12  # 10 of ZeroMQ, and some for its next connections
SOCKET_THREADS: Final = 4  # two of ZeroMQ, one that checks keys, and one to spare
SLAVE_FILES: Final = 4  # of a fleet, for each of its slaves: two pipes, its stacks, a connection
START_FILES: Final = 5  # besides, to start one
BACKLOG: Final = 4096  # connections waiting to be accepted: with 100, a thousand slaves that started at once timed out
HANDSHAKES: Final = 3  # failures in a row, within 0.3 s, before a slave probes the address
LOOK_SECONDS: Final = 1.0  # for one probe: a wrong key takes two, so it is reported within 2 s
KEPT_SECONDS: Final = 0.25  # a master with room keeps a probe's connection this long; a full one closes it at once
NOBODY_SECONDS: Final = 0.3  # without a connection before a slave concludes that no master runs yet
TURNED_AWAY_FIRST_SECONDS: Final = 1.0  # collects rejected connections into one log line,
TURNED_AWAY_SECONDS: Final = 60.0  # then one such line at most this often
KEY_FILE_BYTES: Final = 4096  # read from a key file: far more than its one line, in case it is another file

# State on disk.
CHECKPOINT_SECONDS: Final = 1.0  # while jobs settle: a crash repeats the last second's work; costs 1 ms of fsync
# From the first lease of the job at the watermark until checkpoints hold what is settled above it: ten of the time
# slices that make no-ops wait now and then, a quarter of what a crash may repeat anyway.
STANDS_SECONDS: Final = 0.25
KEPT_BYTES: Final = 64 << 20  # of settled jobs' payloads above the watermark: then a checkpoint is due at once
CROWDED_CHECKPOINT_SECONDS: Final = 0.1  # between checkpoints at least, however much they would free
UNSAVED_SECONDS: Final = 5.0  # without a checkpoint no new jobs are handed out, so that a crash still repeats little
SAVE_RETRY_SECONDS: Final = 0.1  # after a failed write, because the failure may be temporary; doubled up to
SAVE_RETRY_SECONDS_MOST: Final = 5.0  # this, so that a run continues within 5 s after somebody makes room
SAVE_WARNING_SECONDS: Final = 30.0  # between two warnings that the state cannot be written
PAYLOAD_SECONDS: Final = 1.0  # to decode a job in the master: a checkpoint without its digest beats a late one
OLD_STATES_KEPT: Final = 3  # after --reset: a mistaken one can be undone, and disks do not fill up with old states
SQLITE_BUSY_SECONDS: Final = 5.0  # for other programs that read the results; then it is retried like any failed write
PARQUET_PART_BYTES: Final = 64 << 20  # of results as JSON: a few MB compressed, and little memory to write
CLOSE_SECONDS: Final = 10.0  # for the last checkpoint at the end of a run: a disk that takes longer is an error
ABORT_SECONDS: Final = 0.5  # the same after a second Ctrl-C: someone is waiting
SOURCE_CLOSE_SECONDS: Final = 3.0  # at the end of a run, for get_jobs to return and run its `finally`
STRAGGLER_SECONDS: Final = 10.0  # a job that holds the watermark for longer is named in the status line
STOP_SECONDS: Final = 2.0  # how long an ending master waits for slaves to receive the order to stop

# Progress and output.
REDRAW_SECONDS: Final = 0.1  # between two drawings of the line on a terminal: nobody could read it faster
PROGRESS_SECONDS: Final = 10.0  # between two lines of progress where there is no terminal: 360 lines an hour
NARROW_COLUMNS: Final = 60  # a narrower terminal has room for the numbers alone, without a bar
# Held back of a line that a handler has not finished; then it is shown as it is, so that memory stays bounded.
UNFINISHED_LINE_CHARACTERS: Final = 8192
# Kept while nobody reads the pipe that output goes to: an hour of progress lines and some tracebacks; more lines are
# dropped.
OUTPUT_WAITING_CHARACTERS: Final = 1 << 20
OUTPUT_FINISH_SECONDS: Final = 2.0  # at the end, for a slow reader to take the summary; then the pipe is given up
HELP_COLUMNS: Final = 100  # of --help, at most: longer lines are hard to read

# Signals within this time are one request: those of one sender arrive within milliseconds, even to a group and its
# members, and a person presses Ctrl-C again only after reading what the first one did.
INTERRUPT_SECONDS: Final = 0.2
GRACE_MARGIN_SECONDS: Final = 2.0  # beyond --grace, for slaves to say goodbye before their fleet kills them

# A fleet: the slave processes that tm-run and tm-spawn keep alive.
# Between two checks of its slaves by tm-spawn: short beside RESTART_SECONDS and the time that a master waits to learn
# how one died.
FLEET_WATCH_SECONDS: Final = 0.05
FLEET_STOP_WATCH_SECONDS: Final = 0.02  # the same while a fleet stops, because somebody is waiting
RESTART_SECONDS: Final = 0.5  # before a crashed slave is replaced; doubled for each further crash in its slot
RESTART_SECONDS_MOST: Final = 30.0  # so a fleet recovers within half a minute once the cause is gone
# The same for a slave that a job or something outside killed, for that says nothing of the next one. A job that sends
# its slave SIGKILL is found after some 25 deaths: with 30 s between them that took five minutes.
KILLED_RESTART_SECONDS_MOST: Final = 2.0
RESTART_SPREAD: Final = 0.25  # of a delay at most, by which slots differ, so that their slaves do not start together
STEADY_SECONDS: Final = 60.0  # a slave that lived this long was not in a crash loop: the delays start over
YOUNG_SECONDS: Final = 10.0  # a crash this soon after the start counts as one of the
YOUNG_CRASHES: Final = 5  # in a row that close a slot: its next slave would crash, too
# The same if a job may have killed them: one among a million that a slave holds is found after two deaths, seven that
# single it out, and --attempts alone. With five, a single slave never got past such a job among a thousand.
YOUNG_DEATHS: Final = 15
# The same if something outside killed the slaves, which may end by itself. A job that sends its slave SIGKILL looks the
# same, and is found after at most ten deaths in company, three that single it out, and ten and --attempts alone.
YOUNG_KILLS: Final = 30
# For the other slaves to finish their jobs after one has hit an error that they will all hit.
HOPELESS_GRACE_SECONDS: Final = 10.0
# For the other slaves to be dismissed as well after the master has dismissed one. A slave that started just after the
# master ended would otherwise wait two minutes for it.
OVER_SECONDS: Final = 5.0
FINISHED_GRACE_SECONDS: Final = 5.0  # for the slaves of tm-run to end by themselves once the run is finished
REAP_SECONDS: Final = 5.0  # for killed slaves to end: one that hangs on a dead network disk never does
LAST_OUTPUT_SECONDS: Final = 0.5  # for the last lines of slaves: a handler's child may hold their pipe open for ever
OUTPUT_LINE_BYTES: Final = 64 << 10  # of a slave's output shown as one line; a longer line is split
# The watchdog outside the interpreter: a slave sends its fleet a beat this often while its control thread runs.
BEAT_SECONDS: Final = 0.5
SILENCE_MARGIN_SECONDS: Final = 3.0  # beyond the timeout of a job: a busy machine delays a beat by a second or two
WATCHDOG_LOOK_SECONDS: Final = 0.5  # the most silence that one look adds: five times FLEET_WATCH_SECONDS
STACK_SECONDS: Final = 0.3  # for a silent slave to write its stacks before it is killed; takes a millisecond
SAID_BYTES: Final = 64 << 10  # of one line that a slave sends to its fleet, such as an error, and of its stacks
SAID_LINES: Final = 100  # of all that a slave may send to its fleet: a few words and an error

# The environment variables that tie a slave to the fleet that started it.
PARENT_FD: Final = "TASKMASTER_PARENT_FD"  # a descriptor to read from: at its end the parent is gone
PARENT_PID: Final = "TASKMASTER_PARENT_PID"
STACK_FD: Final = "TASKMASTER_STACK_FD"  # a file for the stacks of its threads, which SIGQUIT makes it write
SEARCH_PATH: Final = "TASKMASTER_SEARCH_PATH"  # the parent's sys.path, as JSON
MAIN_FILE: Final = "TASKMASTER_MAIN_FILE"  # the program that called taskmaster.run, or, with `python -m`,
MAIN_MODULE: Final = "TASKMASTER_MAIN_MODULE"  # its name
WORD_FD: Final = "TASKMASTER_WORD_FD"  # a descriptor to write words to, one a line: see fleet/base.py
