# Time at CPL 3: nanoseconds that go on across a migration.
#
# kvmclock where KVM offers it: the page that KVM keeps up to date, read with the TSC (Documentation/virt/kvm/x86/msr.rst,
# MSR_KVM_SYSTEM_TIME_NEW). A host with another TSC writes another page, so the pace of the guest survives the move.
# Elsewhere the TSC, calibrated against the PIT, in a page of the same form.

.include "defs.inc"

.section .text
.code64

# Chooses the clock. Changes rax, rcx, rdx, rsi, rdi, r8, r9.
.globl clock_init
clock_init:
    mov dword ptr [clock], offset pvclock
    mov dword ptr [clock_name], offset text_kvmclock
    cmp dword ptr [kvmclock_on], 0
    je 1f
    cmp dword ptr [pvclock + 24], 0 # no multiplier: the page was never written
    jne 4f
1:  mov dword ptr [clock], offset tsc_clock
    mov dword ptr [clock_name], offset text_tsc
    SVC SVC_CALIBRATE               # rax = TSC ticks, ecx = PIT ticks
    mov edi, PIT_HZ
    mul rdi
    div rcx                         # rax = Hz
    test rax, rax
    jnz 2f
    mov eax, 1000000000
2:  mov rcx, rax
    xor r8d, r8d                    # shift
3:  cmp rcx, 1000000000             # the multiplier 10^9 * 2^32 / Hz has to fit in 32 bits
    ja 5f
    shl rcx, 1
    inc r8d
    jmp 3b
5:  mov rax, 1000000000 << 32
    xor edx, edx
    div rcx
    mov [tsc_clock + 24], eax
    mov [tsc_clock + 28], r8b
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [tsc_clock + 8], rax
4:  call now_ns
    mov [clock_start], rax
    ret

# rax = nanoseconds by the clock. A step back is counted in the progress page. Changes rcx, rdx, rsi, r8, r9.
.globl now_ns
now_ns:
    mov esi, [clock]
1:  mov r8d, [rsi]
    test r8d, 1                     # odd: being written
    jnz 1b
    lfence                          # rdtsc is not ordered after earlier loads
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [rsi + 8]
    jns 2f
    xor eax, eax                    # the page is a little younger than the TSC was
2:  movsx ecx, byte ptr [rsi + 28]
    test ecx, ecx
    js 3f
    shl rax, cl
    jmp 4f
3:  neg ecx
    shr rax, cl
4:  mov edx, [rsi + 24]
    mul rdx
    shrd rax, rdx, 32
    add rax, [rsi + 16]
    cmp r8d, [rsi]
    jne 1b
    cmp rax, [clock_last]
    jae 5f
    inc qword ptr [progress + P_BACK]
5:  mov [clock_last], rax
    ret

# rax = milliseconds since the guest started. Changes rcx, rdx, rsi, r8, r9.
.globl uptime_ms
uptime_ms:
    call now_ns
    sub rax, [clock_start]
    jns 1f
    xor eax, eax
1:  xor edx, edx
    mov ecx, 1000000
    div rcx
    ret

.section .rodata
text_kvmclock: .asciz "kvmclock"
text_tsc:      .asciz "tsc"

.section .bss, "aw", @nobits
    .balign 8
clock:       .skip 8                # address of the page in use
.globl clock_name
clock_name:  .skip 8
clock_start: .skip 8
clock_last:  .skip 8
    .balign 64
tsc_clock:   .skip 64
