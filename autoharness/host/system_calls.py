"""The system calls that are refused to agent hosts and to the programs of coding agents: one table.

A call that is in no line is open to both, as long as it is not younger than `YOUNGEST`.
"""

TABLE = """
host programs   calls, each with its numbers on x86-64 and on ARM64

no   yes        fork 57 -                 vfork 58 -                execve 59 221            execveat 322 281
args args       clone 56 220
none none       clone3 435 435
no   no         unshare 272 97            setns 308 268

no   no         ptrace 101 117            process_vm_readv 310 270  process_vm_writev 311 271
no   no         process_madvise 440 440   process_mrelease 448 448  kcmp 312 272             pidfd_getfd 438 438
no   no         perf_event_open 298 241   bpf 321 280               userfaultfd 323 282      lookup_dcookie 212 18
no   no         migrate_pages 256 238     move_pages 279 239

args yes        kill 62 129               tgkill 234 131
no   yes        tkill 200 130             rt_sigqueueinfo 129 138   rt_tgsigqueueinfo 297 240
no   yes        timer_create 222 107      pidfd_open 434 434        pidfd_send_signal 424 424
args args       prlimit64 302 261
no   yes        setrlimit 160 164
no   args       setpriority 141 140       ioprio_set 251 30         sched_setaffinity 203 122
no   args       sched_setscheduler 144 119                          sched_setparam 142 118   sched_setattr 314 274
args yes        getpriority 140 141       getpgid 121 155           getsid 124 156           sched_getaffinity 204 123
no   yes        getppid 110 173           ioprio_get 252 31         sched_getscheduler 145 120
no   yes        sched_getparam 143 121    sched_getattr 315 275     sched_rr_get_interval 148 127
no   yes        get_robust_list 274 100   capget 125 90
args yes        clock_gettime 228 113     clock_getres 229 114      clock_nanosleep 230 115
args yes        prctl 157 167
no   yes        seccomp 317 277           personality 135 92        modify_ldt 154 -

args args       open 2 -                  openat 257 56
none none       openat2 437 437
no   args       truncate 76 45
args yes        fallocate 285 47          fcntl 72 25               ioctl 16 29              close_range 436 436
no   yes        chmod 90 -                fchmod 91 52              fchmodat 268 53
no   yes        chown 92 -                fchown 93 55              lchown 94 -              fchownat 260 54
no   yes        utime 132 -               utimes 235 -              futimesat 261 -          utimensat 280 88
no   yes        setxattr 188 5            lsetxattr 189 6           fsetxattr 190 7
no   yes        removexattr 197 14        lremovexattr 198 15       fremovexattr 199 16
no   no         mknod 133 -               mknodat 259 33            open_by_handle_at 304 265
no   yes        name_to_handle_at 303 264 memfd_create 319 279      memfd_secret 447 447     vmsplice 278 75

no   no         mincore 27 232            fanotify_init 300 262     fanotify_mark 301 263
no   no         statfs 137 43             fstatfs 138 44            ustat 136 -
args args       preadv2 327 286           pwritev2 328 287
args yes        madvise 28 233
idle yes        fadvise64 221 223         readahead 187 213         flock 73 32
no   yes        sync_file_range 277 84    sync 162 81               syncfs 306 267
no   yes        io_setup 206 0            io_destroy 207 1          io_submit 209 2          io_cancel 210 3
no   yes        io_getevents 208 4        io_pgetevents 333 292
no   yes        inotify_init 253 -        inotify_init1 294 26      inotify_add_watch 254 27
no   yes        sysinfo 99 179            getrusage 98 165          mbind 237 235             set_mempolicy 238 237
no   yes        get_mempolicy 239 236     set_mempolicy_home_node 450 450

args args       socket 41 198             socketpair 53 199
args yes        connect 42 203            accept 43 202             accept4 288 242
no   yes        bind 49 200               listen 50 201
args args       sendto 44 206             sendmsg 46 211            sendmmsg 307 269

no   no         shmget 29 194             shmat 30 196              shmctl 31 195
no   no         semget 64 190             semop 65 193              semtimedop 220 192       semctl 66 191
no   no         msgget 68 186             msgsnd 69 189             msgrcv 70 188            msgctl 71 187
no   no         mq_open 240 180           mq_unlink 241 181
no   no         add_key 248 217           request_key 249 218       keyctl 250 219
no   no         io_uring_setup 425 425    io_uring_enter 426 426    io_uring_register 427 427

no   no         mount 165 40              umount2 166 39            pivot_root 155 41        chroot 161 51
no   no         open_tree 428 428         move_mount 429 429        mount_setattr 442 442
no   no         fsopen 430 430            fsconfig 431 431          fsmount 432 432          fspick 433 433
no   no         init_module 175 105       finit_module 313 273      delete_module 176 106    reboot 169 142
no   no         swapon 167 224            swapoff 168 225           kexec_load 246 104       kexec_file_load 320 294
no   no         acct 163 89               sethostname 170 161       setdomainname 171 162
no   no         quotactl 179 60           quotactl_fd 443 443       syslog 103 116           vhangup 153 58
no   no         iopl 172 -                ioperm 173 -              settimeofday 164 170     clock_settime 227 112
no   yes        adjtimex 159 171          clock_adjtime 305 266
"""
"""yes: open. no: refused. args: refused unless its arguments are as `seccomp` says. idle: succeeds, and does nothing.
none: as if the kernel had no such call: its arguments are behind a pointer, and C libraries know an older call whose
arguments a filter can see."""

YOUNGEST = 450
"""The last number that the table was made with. Later calls are refused as if they did not exist: the first is
`cachestat`, which tells which parts of a file are in memory."""

HOST, PROGRAMS = 0, 1
"""The columns of the table: agent hosts, programs of a coding agent."""
COLUMNS = {"x86_64": 0, "aarch64": 1}


def numbers(machine: str, side: int, verdict: str) -> dict[str, int]:
    """The calls of one verdict for HOST or PROGRAMS: their numbers on a machine, by name."""
    found: dict[str, int] = {}
    for line in filter(None, TABLE.splitlines()[2:]):
        words = line.split()
        if words[side] == verdict:
            for name, *columns in zip(words[2::3], words[3::3], words[4::3], strict=True):
                number = columns[COLUMNS[machine]]
                found |= {name: int(number)} if number != "-" else {}
    return found
