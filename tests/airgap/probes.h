/*
 * probes - what hostile native code in a cell tries, and which single wall, if only one, stops it.
 * Shared by the cell of build/ablate (which tries) and by hostile.c (which watches).
 */
#ifndef KOLM_AIRGAP_PROBES_H
#define KOLM_AIRGAP_PROBES_H

enum probe_kind {
	ATTEMPT, /* a network call: it must not only fail, the spawner must have seen it */
	LEAVE,	 /* the same, and its success means that a byte got to a listener outside */
	LOCAL,	 /* anything else that must not work */
};

enum { FAMILIES = 46 };

/*
 * The name given to kolm-cell is NAME:PORT:PID, PORT and PID being of the watching program. Beside
 * these there is "family_N" for N below FAMILIES: socket() of that family, an ATTEMPT.
 *
 * name, kind, layers of which one alone is enough to stop it when all others are gone; the test
 * knows that a probe works when its only layer is taken away, and shows it.
 */
#define AIRGAP_PROBES(X)                                                                           \
	X(raw_icmp, ATTEMPT, "")                                                                   \
	X(raw_all, ATTEMPT, "")                                                                    \
	X(pair, ATTEMPT, "")                                                                       \
	X(connect_0, ATTEMPT, "")                                                                  \
	X(bind_0, ATTEMPT, "")                                                                     \
	X(listen_0, ATTEMPT, "")                                                                   \
	X(accept_0, ATTEMPT, "")                                                                   \
	X(accept4_0, ATTEMPT, "")                                                                  \
	X(sendto_0, ATTEMPT, "")                                                                   \
	X(sendmsg_0, ATTEMPT, "")                                                                  \
	X(sendmmsg_0, ATTEMPT, "")                                                                 \
	X(recvfrom_0, ATTEMPT, "")                                                                 \
	X(recvmsg_0, ATTEMPT, "")                                                                  \
	X(recvmmsg_0, ATTEMPT, "")                                                                 \
	X(shutdown_0, ATTEMPT, "")                                                                 \
	X(setsockopt_0, ATTEMPT, "")                                                               \
	X(getsockopt_0, ATTEMPT, "")                                                               \
	X(getsockname_0, ATTEMPT, "")                                                              \
	X(getpeername_0, ATTEMPT, "")                                                              \
	X(uring_setup, ATTEMPT, "")                                                                \
	X(uring_enter, ATTEMPT, "")                                                                \
	X(uring_register, ATTEMPT, "")                                                             \
	X(getfd, ATTEMPT, "")                                                                      \
	X(out_tcp4, LEAVE, "")                                                                     \
	X(out_tcp6, LEAVE, "")                                                                     \
	X(out_udp4, LEAVE, "")                                                                     \
	X(out_tcp4_on_0, LEAVE, "")                                                                \
	X(out_abstract, LEAVE, "")                                                                 \
	X(out_path, LEAVE, "")                                                                     \
	X(out_packet, LEAVE, "")                                                                   \
	X(out_vsock, LEAVE, "listener")                                                            \
	X(read_passwd, LOCAL, "")                                                                  \
	X(read_shadow, LOCAL, "")                                                                  \
	X(read_root, LOCAL, "")                                                                    \
	X(list_root, LOCAL, "")                                                                    \
	X(read_environ, LOCAL, "")                                                                 \
	X(read_mem, LOCAL, "")                                                                     \
	X(read_kvm, LOCAL, "")                                                                     \
	X(read_fuse, LOCAL, "")                                                                    \
	X(read_parent, LOCAL, "")                                                                  \
	X(read_openat2, LOCAL, "")                                                                 \
	X(make_file, LOCAL, "")                                                                    \
	X(make_tmp, LOCAL, "")                                                                     \
	X(make_shm, LOCAL, "")                                                                     \
	X(make_dir, LOCAL, "")                                                                     \
	X(make_link, LOCAL, "")                                                                    \
	X(make_node, LOCAL, "")                                                                    \
	X(make_fifo, LOCAL, "")                                                                    \
	X(remove_file, LOCAL, "")                                                                  \
	X(rename_file, LOCAL, "")                                                                  \
	X(mode_of_file, LOCAL, "")                                                                 \
	X(cut_file, LOCAL, "")                                                                     \
	X(mount_tmpfs, LOCAL, "")                                                                  \
	X(mount_proc, LOCAL, "")                                                                   \
	X(mount_bind, LOCAL, "")                                                                   \
	X(remount_root, LOCAL, "")                                                                 \
	X(umount_root, LOCAL, "")                                                                  \
	X(pivot, LOCAL, "")                                                                        \
	X(change_root, LOCAL, "")                                                                  \
	X(fs_open, LOCAL, "")                                                                      \
	X(tree_open, LOCAL, "")                                                                    \
	X(handle_open, LOCAL, "")                                                                  \
	X(host_name, LOCAL, "")                                                                    \
	X(domain_name, LOCAL, "")                                                                  \
	X(start_process, LOCAL, "")                                                                \
	X(start_vfork, LOCAL, "")                                                                  \
	X(run_shell, LOCAL, "")                                                                    \
	X(run_itself, LOCAL, "")                                                                   \
	X(trace_parent, LOCAL, "")                                                                 \
	X(read_process, LOCAL, "")                                                                 \
	X(write_process, LOCAL, "")                                                                \
	X(kill_parent, LOCAL, "")                                                                  \
	X(kill_all, LOCAL, "")                                                                     \
	X(hold_parent, LOCAL, "")                                                                  \
	X(limit_parent, LOCAL, "")                                                                 \
	X(schedule_parent, LOCAL, "")                                                              \
	X(load_bpf, LOCAL, "")                                                                     \
	X(watch_events, LOCAL, "")                                                                 \
	X(load_module, LOCAL, "")                                                                  \
	X(load_kernel, LOCAL, "")                                                                  \
	X(restart_machine, LOCAL, "")                                                              \
	X(swap_off, LOCAL, "")                                                                     \
	X(account, LOCAL, "")                                                                      \
	X(set_clock, LOCAL, "")                                                                    \
	X(set_time, LOCAL, "")                                                                     \
	X(kernel_log, LOCAL, "")                                                                   \
	X(ports, LOCAL, "")                                                                        \
	X(real_time, LOCAL, "")                                                                    \
	X(nicer, LOCAL, "")                                                                        \
	X(raise_limit, LOCAL, "")                                                                  \
	X(lock_memory, LOCAL, "")                                                                  \
	X(memory_file, LOCAL, "")                                                                  \
	X(much_memory, LOCAL, "rlimits")                                                           \
	X(fault_handler, LOCAL, "")                                                                \
	X(watch_files, LOCAL, "")                                                                  \
	X(run_made_code, LOCAL, "filter")                                                          \
	X(run_changed_code, LOCAL, "filter")                                                       \
	X(new_user, LOCAL, "filter")                                                               \
	X(become_dumpable, LOCAL, "filter")                                                        \
	X(outlive_parent, LOCAL, "filter")                                                         \
	X(foreign_calls, LOCAL, "filter")

#endif
