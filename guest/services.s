# CPL 0: the services that CPL 3 asks for with `ud2`, the interrupt that ends a sleep, and the report of a fault.
#
# eax = service number; a service may change rax, rcx, rdx, rsi, rdi, r8 and r9, nothing else. Interrupts are off everywhere but
# inside SVC_WAIT and SVC_TRY_IRQ, so an interrupt can only come there.
#
# `ud2` and not `syscall` or `int`: it is a plain fault, which every way of running this guest delivers. IOPL 3 would save the
# way here, but port I/O from CPL 3 ends in #GP under a KVM that emulates CPL 0 (kvm_pvm). There a call that reads one port
# of a device in user space takes about 55 us.

.include "defs.inc"

.section .text
.code64

.globl service_entry
service_entry:
    mov rdx, [rsp]
    cmp word ptr [rdx], 0x0b0f      # a real ud2, or a broken instruction?
    jne bad_opcode
    add qword ptr [rsp], 2
    cmp eax, SVC_LAST
    ja bad_opcode
    jmp [service_table + rax * 8]
bad_opcode:
    push 0
    push 6
    jmp fault_report

# rsi = text, ecx = bytes (at least 1). Waits for LSR.THRE before each byte.
svc_write:
1:  mov edx, UART + 5
2:  in al, dx
    test al, 0x20
    jz 2b
    mov al, [rsi]
    mov edx, UART
    out dx, al
    inc rsi
    dec ecx
    jnz 1b
    iretq

# Arms the PIT for edi ticks (1..65535) and sleeps until it fires or the UART has a byte.
svc_wait:
    call arm_timer
    sti
    hlt
    jmp wait_done

# Arms the PIT for edi ticks unless edi is 0, lets an interrupt in, and does not sleep. CPL 3 uses it once, at start, to
# find out whether the timer's interrupt arrives here (irq_seen), before it dares to sleep.
svc_try_irq:
    test edi, edi
    jz 1f
    mov dword ptr [irq_seen], 0
    call arm_timer
1:  sti
    mov ecx, 100
2:  nop
    dec ecx
    jnz 2b
    jmp wait_done

# The timer, or a byte at the UART: polling finds out. It does not return to where it came from: that may be the `hlt` itself, if the shadow of `sti` was not
# kept, and the guest would then sleep for ever.
.globl irq_entry
irq_entry:
    mov esp, offset stack0_top - 40 # the caller's frame: five words
    mov dword ptr [irq_seen], 1
wait_done:
    cli
    iretq

arm_timer:
    mov al, 0x30                    # channel 0, low then high byte, mode 0: one shot
    out 0x43, al
    mov eax, edi
    out 0x40, al
    mov al, ah
    out 0x40, al
    ret

# eax = the byte received, or -1 if there is none. LSR 0xff is a port where no UART is.
svc_poll:
    mov edx, UART + 5
    in al, dx
    cmp al, 0xff
    je 1f
    test al, 1
    jz 1f
    mov edx, UART
    in al, dx
    movzx eax, al
    iretq
1:  mov eax, -1
    iretq

# rax = TSC ticks while the PIT's channel 0 counted rcx ticks, at least CALIBRATE_TICKS. Channel 0 and not 2, because the
# gate of 2 is in port 0x61, which small machines do not have. rax = 0 if the PIT does not count.
svc_calibrate:
    mov edi, 0xffff
    call arm_timer
    call read_timer
    mov r8d, ecx
    rdtsc
    shl rdx, 32
    lea r9, [rax + rdx]
    mov edi, 1000000
1:  dec edi
    jz 2f
    call read_timer
    neg ecx
    add ecx, r8d                    # ticks since the first look
    rdtsc
    cmp ecx, CALIBRATE_TICKS
    jb 1b
    shl rdx, 32
    or rax, rdx
    sub rax, r9
    iretq
2:  xor eax, eax
    iretq

# ecx = what is left of the PIT's channel 0. Changes al.
read_timer:
    mov al, 0                       # latch channel 0
    out 0x43, al
    in al, 0x40
    movzx ecx, al
    in al, 0x40
    mov ch, al
    ret

# i8042: pulse the reset line.
svc_reset:
    mov al, 0xfe
    out 0x64, al
    jmp svc_halt

# The debug-exit port, at the two places where it is usually put.
svc_debug_exit:
    mov eax, 0x10
    mov edx, 0xf4
    out dx, eax
    mov edx, 0x501
    out dx, eax
svc_halt:
    cli
    hlt
    jmp svc_halt

# A fault with an empty IDT: #UD, #GP, #DF have no handler, the processor shuts down.
svc_triple:
    lidt [empty_idt]
    ud2

# Faults. Every stub has the same size; those without an error code push 0.
.globl fault_stubs
.balign 16
fault_stubs:
.set vector, 0
.rept 32
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    .else
    push 0
    .endif
    push vector
    jmp fault_report
    .balign FAULT_STUB_SIZE
    .set vector, vector + 1
.endr

# Stack: vector, error code, rip, cs, rflags, rsp, ss. Prints them and stops.
fault_report:
    mov esi, offset text_fault
    call puts0
    mov rbx, [rsp]
    call hex0
    mov esi, offset text_error
    call puts0
    mov rbx, [rsp + 8]
    call hex0
    mov esi, offset text_rip
    call puts0
    mov rbx, [rsp + 16]
    call hex0
    mov esi, offset text_cr2
    call puts0
    mov rbx, cr2
    call hex0
    mov al, 10
    call putc0
    jmp svc_halt

puts0:
1:  mov al, [rsi]
    test al, al
    jz 2f
    call putc0
    inc rsi
    jmp 1b
2:  ret

putc0:
    mov ah, al
    mov edx, UART + 5
1:  in al, dx
    test al, 0x20
    jz 1b
    mov al, ah
    mov edx, UART
    out dx, al
    ret

hex0:
    mov ecx, 16
1:  rol rbx, 4
    mov eax, ebx
    and eax, 15
    mov al, [hex_digits + rax]
    call putc0
    dec ecx
    jnz 1b
    ret

.section .rodata
    .balign 8
service_table:
    .quad svc_write, svc_poll, svc_wait, svc_try_irq, svc_calibrate
    .quad svc_reset, svc_debug_exit, svc_halt, svc_triple
empty_idt:
    .word 0
    .quad 0
.globl hex_digits
hex_digits: .ascii "0123456789abcdef"
text_fault: .asciz "FAULT vector="
text_error: .asciz " error="
text_rip:   .asciz " rip="
text_cr2:   .asciz " cr2="

.section .system, "aw", @nobits
    .balign 8
.globl irq_seen
irq_seen: .skip 8
