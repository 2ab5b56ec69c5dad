"""Every default on one page: the unit in its name, the reason beside it."""

from typing import Final

PRODUCT_VERSION: Final = "0.1.0"  # of Taskmaster: the one place; setup.cfg and what slaves say of themselves read it

# The ancestor's address, on every interface: nobody gets in without the key. Slaves take it for this machine.
ADDRESS: Final = "tcp://0.0.0.0:3050"
GET_JOBS: Final = "get_jobs"  # the ancestor's name
HANDLE_JOB: Final = "handle_job"  # the ancestor's name
STATE_FOLDER: Final = ".taskmaster"  # in the working folder, so that two checkouts do not share a run by accident

# The window: how far the head may run ahead of the watermark, and so what one straggler or one crash may cost.
# A no-op streams 1.5 times as fast as at 100,000 jobs, which are 10 ms of its work and so a few time slices of the
# kernel's; what is kept is bytes, not objects.
WINDOW_JOBS: Final = 1_000_000
# As far as that the head runs ahead for a second at most; then a job that takes long holds it here, at ten times the
# ancestor's number, so that a crash repeats no more than that or what one second did.
STALLED_SPAN_JOBS: Final = 100_000
SPAN_SECONDS: Final = 1.0
WINDOW_BYTES: Final = 256 << 20  # 256 MiB of encoded payloads: what a small machine can spare when each job is large
# Of payloads ahead of the slaves: 256 MiB pulled ahead halved the rate of 5 kB jobs, four leases cost a third of it.
READY_BYTES: Final = 16 << 20
JOB_BYTES: Final = 16 << 20  # one job's encoded payload; a larger one belongs in a file whose name is the job

# Of jobs ahead of the slaves: what they take in so long, at the rate at which jobs were handed out of late.
LOOK_AHEAD_SECONDS: Final = 1.0
LOOK_AHEAD_JOBS: Final = 256  # before any rate is known: the first leases of ten slaves
LOOK_AHEAD_LEAST_JOBS: Final = 64  # a few pulls' worth, however long a job takes
# The feeder.
OVERDUE_SECONDS: Final = 0.005  # pulled jobs wait at most so long for the rest of their slice, ten times a round trip
QUEUED_BYTES: Final = 4 << 20  # of encoded jobs that wait to be admitted: a few slices of large ones, all small ones

# Leases.
# Of a slave's work: long against a 0.2 ms round trip, short against a person or a tail. In simulated fleets 10 ms take
# twice the requests, 0.5 s lengthen a run by up to 14 %, and between 20 and 100 ms little changes.
LEASE_SECONDS: Final = 0.05
# Of payloads: each turn at either end costs as much as to copy a megabyte. With half of it 5 kB jobs lose a sixth, and
# twice as much wins nothing.
LEASE_BYTES: Final = 2 << 20
HELD_BYTES: Final = 8 << 20  # of payloads that a slave holds: four leases keep it busy; with two, no-ops lose 15 %
LEASE_LIFE_SECONDS: Final = 60.0  # without renewal: C code that holds the interpreter lock stops renewals meanwhile
HEARTBEAT_SECONDS: Final = 5.0  # a slave with nothing to say renews its leases this often: 12 chances in a lease's life
HEARTBEAT_SECONDS_LEAST: Final = 0.05  # whatever a master asks for: a slave that renews all the time does nothing else
PARK_SECONDS: Final = 1.5  # a master holds an idle slave's request; 1,000 of them a second cost 4 % of a core, or more
RECONNECT_GRACE_SECONDS_LOCAL: Final = 0.25  # from a dropped connection to "the slave is dead": time for a new socket
RECONNECT_GRACE_SECONDS_REMOTE: Final = 2.0  # the same across a network, where connections drop by themselves

# Attempts.
ATTEMPTS: Final = 3  # then a line in the failures file
RETRY_SECONDS: Final = 0.5  # before the second attempt, doubled before each further one
RETRY_SECONDS_MOST: Final = 30.0  # a delayed job holds the watermark, so a retry may not be put off for long
MAX_FAILURES: Final = "10%"  # of the jobs finished in this run, once there are MAX_FAILURES_SAMPLE of them
MAX_FAILURES_SAMPLE: Final = 100  # fewer finished jobs say little about the rest

# A failure's texts, as slaves report them and the failures file keeps them.
MESSAGE_CHARACTERS: Final = 2000  # the start: it says what is wrong, and the rest is often data
TRACEBACK_CHARACTERS: Final = 8000  # about 80 frames; the end is kept, which says what was raised and where
SHOWN_CHARACTERS: Final = 200  # of a payload, for people: one line on a wide terminal; the whole of it is kept beside
NAME_CHARACTERS: Final = 500  # of an exception's type, a handler or a slave: longer ones are not names

# The master's loop.
MESSAGES_AT_ONCE: Final = 100  # 6 ms, before the source, the clock and the state have their turn
EFFECTS_AT_ONCE: Final = 64  # 2 ms; together they move the mark of what was handed out once, and wake ZeroMQ once
CREW_SECONDS: Final = 0.02  # between looks at its own slave processes: at each turn they took a tenth of its time
SHOW_SECONDS: Final = 0.2  # between stats for observers: often enough for a person, and too seldom to cost anything
FAILURES_LOGGED: Final = 5  # with a line each: enough to see what is wrong

# A slave.
CONCURRENCY: Final = 10  # threads: the ancestor's users wait on a network or a disk, and ten cost a no-op nothing
SLICE_SECONDS: Final = 0.002  # of work that a thread takes from the backlog at once: 40 times what taking it costs
REPORT_SECONDS: Final = 0.05  # settled jobs wait at most this long to be reported while the slave is busy
# And this long when a thread is idle, for the window may be waiting for them: 50 ms would cost one of two jobs a thread
# 5 %, 10 ms 1 %, and less than 2 ms wins nothing (in simulated fleets).
REPORT_SECONDS_IDLE: Final = 0.002
REPORT_RUNS: Final = 4000  # in each list of a request: two such lists fit HEADER_BYTES
REPORT_FAILURES: Final = 64  # failed attempts in a request,
REPORT_CHARACTERS: Final = 100_000  # and of their texts: in any alphabet they fit REPORT_BYTES
FAILURE_MESSAGE_CHARACTERS: Final = 2_000  # of one failed attempt: a screenful
FAILURE_TRACEBACK_CHARACTERS: Final = 8_000  # about 80 frames; its end is kept, where it says what was raised
WATCH_SECONDS: Final = 0.05  # between two looks at what is running: what turned slow is noticed within a lease's length
SLAVE_PROGRESS_SECONDS: Final = 0.5  # between two updates of a slave's progress line: often enough to read
PARENT_LOOK_SECONDS: Final = 1.0  # between two looks at whether the parent lives, where its pipe did not tell
REPLY_TIMEOUT_MS: Final = 2000  # silence after which a request is sent again: masters answer within PARK_SECONDS
RETRIES: Final = 60  # times, so two minutes of silence: a master's restart of a minute is survived twice over
LEAVING_SECONDS: Final = 10.0  # of silence, once a slave is to end: the master may have ended before it
REBUILD_AFTER: Final = 3  # silent requests before the socket is built anew: a malformed reply deafens a REQ for good

# Limits on what the wire carries; a message over one is dropped and counted.
HEADER_BYTES: Final = 256 << 10
REPORT_BYTES: Final = 1 << 20  # a slave's whole frame: failures' texts are cut to fit
BLOB_BYTES: Final = 64 << 20  # a master's frame: four of the largest jobs
FRAMES: Final = 2
FRAMES_KEPT: Final = 8  # of one message: the two and what leads them back; further ones are dropped as they are read
CURVE_BYTES: Final = 64  # that encryption adds to a frame (33), with some to spare
SLAVES: Final = 10_000  # sessions that a master keeps: ten times what it was measured with, 20 MB of memory

# Connections.
HANDSHAKE_SECONDS: Final = 5.0  # for a handshake: a slow network takes one second, an idle stranger is cut off
CONNECTIONS: Final = 65_536  # files a master lets itself open: more than one address's ports can hold for 5 seconds
CONNECTIONS_FEW: Final = 256  # below which it says how many slaves there is room for
DESCRIPTORS_OWN: Final = 32  # of them its own: state, sockets, standard streams; 19 were counted
BACKLOG: Final = 4096  # connections that wait to be accepted: at 100 a thousand slaves at once ran into timeouts
HANDSHAKES: Final = 3  # failed ones in a row, in 0.3 s, before a slave looks who is there
LOOK_SECONDS: Final = 1.0  # that the look may take: a wrong key is told of within 2 s, after two looks
KEPT_SECONDS: Final = 0.25  # a stranger's connection, by a master that has room for it: cut off it is in one turn
NOBODY_SECONDS: Final = 0.3  # without a connection: then there is no master yet
TURNED_AWAY_FIRST_SECONDS: Final = 1.0  # what comes together is told in one line,
TURNED_AWAY_SECONDS: Final = 60.0  # and then so often

# State on disk.
CHECKPOINT_SECONDS: Final = 1.0  # while jobs settle: a crash repeats the last second's work; costs 1 ms of fsync
UNSAVED_SECONDS: Final = 5.0  # without a checkpoint nothing new is handed out, so that a crash still repeats little
SAVE_RETRY_SECONDS: Final = 0.1  # after a failed write, for a failed fsync may be a passing one; doubled up to
SAVE_RETRY_SECONDS_MOST: Final = 5.0  # this, so that a run continues within 5 s of somebody making room
SAVE_WARNING_SECONDS: Final = 30.0  # between two warnings that the state cannot be written
PAYLOAD_SECONDS: Final = 1.0  # to decode a job in the master: a checkpoint without its digest beats a late one
OLD_STATES_KEPT: Final = 3  # after --reset: a mistaken one can be undone, and disks do not fill up with old states
CLOSE_SECONDS: Final = 10.0  # for the last checkpoint at the end of a run: a disk that takes longer is an error
ABORT_SECONDS: Final = 0.5  # the same after a second Ctrl-C: someone is waiting
PROGRESS_SECONDS: Final = 10.0  # between plain progress lines where there is no terminal
STRAGGLER_SECONDS: Final = 10.0  # a job that holds the watermark for longer is named in the status line
STOP_SECONDS: Final = 2.0  # that a master waits, at the end, for slaves to hear that they may stop

# The environment by which a fleet and its slave process find each other's pipes.
PARENT_FD: Final = "TASKMASTER_PARENT_FD"  # a descriptor to read: its end means that the parent is gone
PARENT_PID: Final = "TASKMASTER_PARENT_PID"
WORD_FD: Final = "TASKMASTER_WORD_FD"  # a descriptor to write to: a line when the slave is ready, and when it ends
