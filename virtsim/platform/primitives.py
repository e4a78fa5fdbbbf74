"""The primitives: everything that has a price on a host. The calibration fits exactly these.

A primitive is spent at the bottom of a stack. Those marked with an operation in ``measured_by`` can be
told apart by running operations of the workload language on the host itself; the others keep the value
that the card states, because no unprivileged program can separate them (the entry of an exception
from the kernel's work on it, say).
"""

from __future__ import annotations

from typing import NamedTuple


class Primitive(NamedTuple):
    """One priced event.

    Attributes
    ----------
    unit : str
        Unit of its price: ``ns``, ``ns/B``, or ``1`` (ns for each ns of the reference core).
    group : str
        ``processor``, ``memory``, ``kernel``, ``container``, ``runner``, ``monitor``, ``device``.
    meaning : str
        One sentence.
    measured_by : str
        Operation of the workload language whose cost identifies it on a native host; empty if none does.
    """

    unit: str
    group: str
    meaning: str
    measured_by: str = ""


_PROCESSOR = {
    "compute": Primitive("1", "processor", "User instructions, for each ns of the reference core.", "compute"),
    "mode_switch": Primitive(
        "ns", "processor", "Into the kernel by a system call that does nothing, and back.", "syscall null"
    ),
    "exception": Primitive("ns", "processor", "Into the kernel by an exception (page fault, trap), and back."),
    "interrupt": Primitive("ns", "processor", "Take a device or timer interrupt, acknowledge it, return."),
    "address_space_switch": Primitive("ns", "processor", "Load the page-table root; misses that follow included."),
    "root_switch": Primitive("ns", "processor", "Load the page-table root keeping tagged translations (KPTI)."),
    "atomic": Primitive("ns", "processor", "One uncontended atomic read-modify-write in cache.", "lock"),
    "clock_read": Primitive("ns", "processor", "Read the clock without entering the kernel.", "runner_step"),
    "cpuid": Primitive("ns", "processor", "One CPUID instruction."),
    "rdtsc": Primitive("ns", "processor", "One read of the time-stamp counter."),
    "msr_access": Primitive("ns", "processor", "One read or write of a model-specific register."),
    "cr_write": Primitive("ns", "processor", "One write of a control register other than the page-table root."),
    "interrupt_flag": Primitive("ns", "processor", "One pair of CLI and STI."),
    "port_io": Primitive("ns", "processor", "One IN or OUT that reaches a device."),
    "mmio_access": Primitive("ns", "processor", "One uncached access to a device's memory."),
    "halt": Primitive("ns", "processor", "Enter and leave the processor's idle state by HLT, sleep not included."),
    "ipi_send": Primitive("ns", "processor", "Send one interrupt to another processor."),
    "timer_program": Primitive("ns", "processor", "Set the processor's next timer interrupt."),
    "call_return": Primitive("ns", "processor", "One near call with its return."),
    "vm_exit": Primitive("ns", "processor", "Hardware exit from a guest to its monitor."),
    "vm_entry": Primitive("ns", "processor", "Hardware entry from a monitor into its guest."),
    "vmcs_read": Primitive("ns", "processor", "Read one field of the guest's control block."),
    "vmcs_write": Primitive("ns", "processor", "Write one field of the guest's control block."),
}

_MEMORY = {
    "touch_l1": Primitive("ns", "memory", "Write to one place, found in the first-level cache.", "touch"),
    "touch_l2": Primitive("ns", "memory", "Write to one place, found in the second-level cache.", "touch"),
    "touch_l3": Primitive("ns", "memory", "Write to one place, found in the last-level cache.", "touch"),
    "touch_memory": Primitive("ns", "memory", "Write to one place that no cache holds.", "touch"),
    "walk_reference": Primitive("ns", "memory", "One memory reference of a page-table walk after a TLB miss."),
    "pte_write": Primitive("ns", "memory", "Change one page-table entry."),
    "pte_copy": Primitive("ns", "memory", "Copy or clear one page-table entry in a bulk operation."),
    "tlb_flush": Primitive("ns", "memory", "Drop one translation (INVLPG), refill included."),
}

_KERNEL = {
    "file_lookup": Primitive("ns", "kernel", "Walk a path and read the file's attributes.", "syscall stat"),
    "file_open": Primitive("ns", "kernel", "Open a file by path and close it again.", "syscall open_close"),
    "file_read": Primitive("ns", "kernel", "A read call, without the copying.", "syscall read"),
    "file_write": Primitive("ns", "kernel", "A write call, without the copying.", "syscall write"),
    "copy_from_file": Primitive("ns/B", "kernel", "Copy one byte from the page cache to the program.", "syscall read"),
    "copy_to_file": Primitive("ns/B", "kernel", "Copy one byte from the program to the page cache.", "syscall write"),
    "read_page": Primitive("ns", "kernel", "Find one more page of a file that is read, copying apart.", "syscall read"),
    "write_page": Primitive(
        "ns", "kernel", "Find one more page of a file that is written, copying apart.", "syscall write"
    ),
    "file_sync": Primitive("ns", "kernel", "Synchronise (fsync) a file that lives in memory.", "write_fsync"),
    "file_create": Primitive("ns", "kernel", "Create an empty file and close it."),
    "file_delete": Primitive("ns", "kernel", "Remove an empty file."),
    "free_page": Primitive("ns", "kernel", "Give back one page of a file that is removed."),
    "select_scan": Primitive("ns", "kernel", "Ask one descriptor in a select call."),
    "map_area": Primitive("ns", "kernel", "Map an area of anonymous memory and unmap it, untouched.", "map_unmap"),
    "map_page": Primitive("ns", "kernel", "Map, in bulk, one page of a file that is in memory."),
    "release_area": Primitive("ns", "kernel", "Give a touched area back (madvise), per call.", "page_fault"),
    "fault_service": Primitive(
        "ns", "kernel", "A minor fault: find the area, get a page, clear it, free it later.", "page_fault"
    ),
    "fault_reflect": Primitive("ns", "kernel", "A fault on protected memory up to the signal's frame."),
    "copy_page": Primitive("ns", "kernel", "Copy one page after a write to shared memory."),
    "process_fork": Primitive("ns", "kernel", "Create a process, let it exit, reap it; its pages apart.", "fork_wait"),
    "process_exec": Primitive(
        "ns", "kernel", "Replace a process by a small static program; its faults apart.", "fork_exec"
    ),
    "shell_start": Primitive("ns", "kernel", "User and kernel work of a shell that starts one program; traps apart."),
    "pipe_service": Primitive("ns", "kernel", "Write or read a small message through a pipe, either side.", "send"),
    "copy_pipe": Primitive("ns/B", "kernel", "Copy one byte through a pipe, in or out.", "send"),
    "futex_wake_service": Primitive("ns", "kernel", "The kernel's half of waking a futex.", "send"),
    "futex_wait_service": Primitive("ns", "kernel", "The kernel's half of waiting on a futex.", "receive"),
    "signal_install_service": Primitive("ns", "kernel", "Install a signal handler."),
    "signal_delivery": Primitive("ns", "kernel", "Send a signal to oneself, build and drop its frame.", "signal"),
    "timer_arm": Primitive("ns", "kernel", "Arm a high-resolution timer and expire it.", "sleep"),
    "task_switch": Primitive("ns", "kernel", "Choose the next task and switch registers and stack.", "receive"),
    "wakeup_service": Primitive("ns", "kernel", "Make a task runnable and choose its CPU."),
    "tick": Primitive("ns", "kernel", "The scheduler's periodic work."),
    "block_request": Primitive("ns", "kernel", "File system and block layer for one request, interrupt excluded."),
    "packet_send_service": Primitive("ns", "kernel", "Protocol stack and driver for one packet sent."),
    "packet_receive_service": Primitive("ns", "kernel", "Protocol stack and driver for one packet received."),
    "packet_byte": Primitive("ns/B", "kernel", "Checksum and copy of one byte of a packet."),
}

_CONTAINER = {
    "syscall_slow_entry": Primitive(
        "ns", "container", "Take the slow path into the kernel because a seccomp filter is attached.", "syscall null"
    ),
    "seccomp_run": Primitive("ns", "container", "Run a filter whose verdict is not cached.", "syscall null"),
    "seccomp_compare": Primitive(
        "ns", "container", "One comparison of a filter whose verdict is not cached.", "syscall null"
    ),
    "overlay_lookup": Primitive("ns", "container", "Find a file through an overlay's layers, per path."),
    "bridge_forward": Primitive("ns", "container", "Carry one packet over a veth pair and a bridge."),
    "nat_translate": Primitive("ns", "container", "Connection tracking and address translation of one packet."),
    "io_charge": Primitive("ns", "container", "Charge one request to the I/O controller."),
}

_MONITOR = {
    "exit_dispatch": Primitive("ns", "monitor", "A monitor's work on one exit, hardware and special work apart."),
    "instruction_emulate": Primitive("ns", "monitor", "Decode and emulate one instruction that was trapped."),
    "msr_emulate": Primitive("ns", "monitor", "Emulate one access to a model-specific register, dispatch apart."),
    "exception_reflect": Primitive("ns", "monitor", "Take a guest's exception and deliver it to the guest's kernel."),
    "event_inject": Primitive("ns", "monitor", "Deliver an interrupt to a guest."),
    "doorbell_signal": Primitive("ns", "monitor", "Turn a guest's doorbell write into a wake-up of a back end."),
    "userspace_exit": Primitive("ns", "monitor", "From the monitor in the kernel to its process and back."),
    "device_model": Primitive("ns", "monitor", "A software device's work on one access."),
    "nested_switch": Primitive(
        "ns", "monitor", "Merge control blocks to reflect an exit to, or enter, a nested guest."
    ),
    "vmcs_emulate": Primitive("ns", "monitor", "Emulate one access of a guest monitor to its control block."),
    "shadow_walk": Primitive(
        "ns", "monitor", "Software MMU: walk the guest's tables for a fault, and fill or reflect."
    ),
    "shadow_map": Primitive("ns", "monitor", "Software MMU: a trapped write that makes an entry present."),
    "shadow_unmap": Primitive("ns", "monitor", "Software MMU: a trapped write that makes an entry absent."),
    "shadow_change": Primitive("ns", "monitor", "Software MMU: a trapped write that keeps an entry present."),
    "shadow_sync": Primitive("ns", "monitor", "Software MMU: bring one untrapped entry up to date."),
    "shadow_switch": Primitive("ns", "monitor", "Software MMU: find and load the shadow of an address space."),
    "bt_system_call": Primitive("ns", "monitor", "Binary translation: what a system call costs more."),
    "bt_fault": Primitive("ns", "monitor", "Binary translation: what an exception costs more, software MMU apart."),
    "bt_page_fault": Primitive(
        "ns", "monitor", "Binary translation: what a page fault costs more, software MMU included."
    ),
    "bt_pte_map": Primitive("ns", "monitor", "Binary translation: adapted write that makes an entry present."),
    "bt_pte_unmap": Primitive("ns", "monitor", "Binary translation: adapted write that makes an entry absent."),
    "bt_pte_change": Primitive("ns", "monitor", "Binary translation: adapted write that keeps an entry present."),
    "bt_address_switch": Primitive("ns", "monitor", "Binary translation: switch to another address space's shadow."),
    "bt_inline": Primitive("ns", "monitor", "Binary translation: a privileged instruction replaced in the code cache."),
    "bt_callout": Primitive("ns", "monitor", "Binary translation: a privileged instruction emulated by a call-out."),
    "bt_indirect": Primitive("ns", "monitor", "Binary translation: what an indirect branch or return costs more."),
    "translate_instruction": Primitive("ns", "monitor", "Translate one guest instruction."),
    "world_switch": Primitive("ns", "monitor", "From a hosted monitor to its host and back."),
    "hypercall": Primitive("ns", "monitor", "From a guest's kernel to its hypervisor and back, work apart."),
    "pv_bounce": Primitive("ns", "monitor", "Hand an exception that the hypervisor took to the guest's kernel."),
    "pv_update": Primitive("ns", "monitor", "Take up a guest's request to change page tables, entries apart."),
    "pv_validate": Primitive("ns", "monitor", "Check and apply one page-table entry on a guest's request."),
    "pv_pin": Primitive("ns", "monitor", "Take one page as a page table, or give it up, entries apart."),
    "event_channel": Primitive("ns", "monitor", "Hypervisor's work to signal another domain or processor."),
    "vcpu_switch": Primitive("ns", "monitor", "Switch a processor from one virtual processor to another."),
    "ring_request": Primitive("ns", "monitor", "Front end's work on one request in a shared ring."),
    "host_request": Primitive(
        "ns", "monitor", "A host carries out one request of an emulated device by its own drivers."
    ),
    "backend_request": Primitive("ns", "monitor", "Back end's work on one request of a shared ring, device apart."),
    "pvm_switch": Primitive("ns", "monitor", "Switch between guest and monitor without hardware help, and back."),
    "pvm_direct": Primitive("ns", "monitor", "What a system call costs more by the switcher's direct path."),
    "ptrace_stop": Primitive(
        "ns", "monitor", "Stop a traced thread, tell its tracer, resume it; the switches included."
    ),
    "sentry_switch": Primitive("ns", "monitor", "From a program to a user-space kernel and back, without tracing."),
    "sentry_call": Primitive("ns", "monitor", "A user-space kernel's own work on one call."),
    "sentry_map": Primitive("ns", "monitor", "A user-space kernel changes one mapping of its program in the host."),
    "sentry_wake": Primitive(
        "ns", "monitor", "A user-space kernel lets another of its threads go on, asleep ones included."
    ),
    "gofer_call": Primitive(
        "ns", "monitor", "One request of a user-space kernel to its file server, switches included."
    ),
    "host_map": Primitive(
        "ns", "monitor", "Change one mapping in the host address space of a user-space kernel's program."
    ),
    "host_copy": Primitive(
        "ns", "monitor", "Carry one entry of a page table that is copied or dropped over to the host address space."
    ),
    "host_switch": Primitive("ns", "monitor", "Let another host address space run on behalf of a user-space kernel."),
    "api_call": Primitive("ns", "monitor", "Translate one call of a foreign programming interface in the process."),
    "api_server_call": Primitive("ns", "monitor", "One request to the server process of a translated interface."),
}

_RUNNER = {
    "runner_step": Primitive(
        "ns", "runner", "The interpreter's own cost of one operation: dispatch, time stamp, count.", "any"
    ),
}

#: Every primitive by name.
PRIMITIVES: dict[str, Primitive] = {**_PROCESSOR, **_MEMORY, **_KERNEL, **_CONTAINER, **_MONITOR, **_RUNNER}
