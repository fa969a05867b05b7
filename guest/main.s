# CPL 3: fills memory, then dirties the working set in passes, beats and listens.
#
# Kept in registers all the time, and in the progress page after each page written:
#   r12 = passes completed, r13 = position in the working set, r14 = pages dirtied since the fill.
# r15 = end of the line being built (print.s).

.include "defs.inc"

# Longest sleeps. A wake-up costs 0.3 ms of processor time where CPL 0 is emulated: 5 ms slices took 6 % of a core when
# idle, 20 ms take a third of that. A byte at the UART ends a sleep at once.
.set SLICE_BUSY_NS, 4000000         # while dirtying at a rate
.set SLICE_IDLE_NS, 20000000        # otherwise
.set POLL_NS, 2000000               # least time between two looks at the UART while busy
.set IRQ_WAIT_NS, 50000000

.section .text
.code64
.globl user_start
user_start:
    cld
    mov edi, offset user_zero_start
    mov ecx, offset image_end
    sub ecx, edi
    shr ecx, 3
    xor eax, eax
    rep stosq
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    call new_line
    call map_low
    call read_start_info
    call clock_init
    call read_map
    call parse_params
    call plan
    call probe_timer

    mov esi, offset text_up
    call put_text
    mov rax, [ram_mib]
    call put_decimal
    mov esi, offset text_fill
    call put_text
    mov rax, [progress + P_FILL]
    shr rax, 8
    call put_decimal
    mov esi, offset text_ws
    call put_text
    mov rax, [progress + P_WS]
    call put_decimal
    mov esi, offset text_rate
    call put_text
    mov rax, [rate]
    call put_rate
    call put_line
    mov esi, offset text_info
    call put_text
    mov esi, [clock_name]
    call put_text
    mov esi, offset text_wait
    call put_text
    mov esi, offset text_pause
    cmp dword ptr [irq_seen], 0
    je 1f
    mov esi, offset text_hlt
1:  call put_text
    call put_line

    call fill
    call rate_changed
    call now_ns
    mov [next_beat], rax

# One turn: look at the UART, beat, dirty what is due; with nothing due, sleep.
turn:
    call now_ns
    mov rbx, rax
    cmp rbx, [next_poll]
    jb 2f
1:  SVC SVC_POLL
    test eax, eax
    js 3f
    call command
    jmp 1b
3:  lea rax, [rbx + POLL_NS]
    mov [next_poll], rax
2:  cmp rbx, [next_beat]
    jb 4f
    call beat
4:  cmp dword ptr [stopped], 0
    jne idle
    cmp qword ptr [progress + P_WS], 0
    je idle
    call pages_due                  # rax, at most BATCH
    test rax, rax
    jz idle
    call dirty
    jmp turn

# Sleeps until the slice or the next beat is over.
idle:
    mov eax, SLICE_IDLE_NS
    cmp dword ptr [stopped], 0
    jne 1f
    cmp qword ptr [rate], 0
    je 1f
    mov eax, SLICE_BUSY_NS
1:  mov rcx, [next_beat]
    sub rcx, rbx
    jbe turn
    cmp rax, rcx
    jbe 2f
    mov rax, rcx
2:  mov qword ptr [next_poll], 0
    cmp dword ptr [irq_seen], 0
    je 3f
    mov ecx, PIT_HZ
    mul rcx
    mov ecx, 1000000000
    div rcx
    lea edi, [rax + 1]
    SVC SVC_WAIT
    jmp turn
3:  add rbx, rax                    # no timer interrupt here: wait awake
4:  pause
    call now_ns
    cmp rax, rbx
    jb 4b
    jmp turn

# Prints a heartbeat and sets the next one; rbx = now.
beat:
    inc qword ptr [progress + P_BEATS]
    mov esi, offset text_beat
    call put_text
    mov rax, [progress + P_BEATS]
    call put_decimal
    mov esi, offset text_passes
    call put_text
    mov rax, r12
    call put_decimal
    mov esi, offset text_dirtied
    call put_text
    mov rax, r14
    call put_decimal
    mov esi, offset text_ms
    call put_text
    call uptime_ms
    call put_decimal
    mov esi, offset text_back
    call put_text
    mov rax, [progress + P_BACK]
    call put_decimal
    call put_line
    imul rax, [param_hb], 1000000
    mov rcx, [next_beat]
    add rcx, rax
    cmp rcx, rbx
    ja 1f
    lea rcx, [rbx + rax]            # late by a whole period: no burst
1:  mov [next_beat], rcx
    ret

# Fits what was asked for to what there is.
plan:
    mov rax, [param_fill]
    shl rax, 8
    call take_memory
    mov rax, [param_fill]
    shl rax, 8
    cmp rax, [progress + P_FILL]
    je 1f
    mov esi, offset text_less
    call put_text
    mov rax, [param_fill]
    call put_decimal
    mov esi, offset text_less2
    call put_text
    mov rax, [progress + P_FILL]
    shr rax, 8
    call put_decimal
    call put_line
1:  mov rcx, [param_ws_at]
    shl rcx, 8
    mov rax, [progress + P_FILL]
    sub rax, rcx
    jae 2f
    xor eax, eax
    xor ecx, ecx
2:  mov [progress + P_WS_AT], rcx
    mov rdx, [param_ws_pages]
    cmp rdx, -1
    jne 3f
    mov rdx, [param_ws]
    shl rdx, 8
3:  cmp rdx, rax
    jbe 4f
    mov rbx, rdx
    mov [progress + P_WS], rax
    mov esi, offset text_ws_less
    call put_text
    mov rax, rbx
    call put_decimal
    mov esi, offset text_ws_less2
    call put_text
    mov rax, [progress + P_WS]
    call put_decimal
    call put_line
    mov rdx, [progress + P_WS]
4:  mov [progress + P_WS], rdx
    mov rax, [param_rate]
    mov [rate], rax
    ret

# Finds out whether the timer's interrupt arrives: leaves irq_seen at 1 if it does.
probe_timer:
    mov edi, 1200                   # 1 ms
    SVC SVC_TRY_IRQ
    call now_ns
    lea rbx, [rax + IRQ_WAIT_NS]
1:  cmp dword ptr [irq_seen], 0
    jne 2f
    xor edi, edi
    SVC SVC_TRY_IRQ
    call now_ns
    cmp rax, rbx
    jb 1b
2:  ret

# Appends the rate in rax: a number or `max`.
.globl put_rate
put_rate:
    cmp rax, RATE_MAX
    jne put_decimal
    mov esi, offset text_max
    jmp put_text

.section .rodata
text_up:      .asciz "GUEST-UP ram="
text_fill:    .asciz " fill="
text_ws:      .asciz " ws="
text_rate:    .asciz " rate="
text_info:    .asciz "INFO clock="
text_wait:    .asciz " wait="
text_hlt:     .asciz "hlt"
text_pause:   .asciz "pause"
text_beat:    .asciz "HB "
text_passes:  .asciz " passes="
text_dirtied: .asciz " dirtied="
.globl text_ms
text_ms:      .asciz " ms="
text_back:    .asciz " back="
text_max:     .asciz "max"
text_less:    .asciz "WARN fill="
text_less2:   .asciz " MiB is more than there is, using MiB="
text_ws_less: .asciz "WARN working set pages="
text_ws_less2: .asciz " do not fit in the fill, using pages="

# At a fixed address (layout.ld), for hosts that look at it.
.section .progress, "aw", @nobits
.globl progress
progress:     .skip 4096

.section .bss, "aw", @nobits
    .balign 8
.globl rate, stopped
rate:         .skip 8
stopped:      .skip 8
next_poll:    .skip 8
next_beat:    .skip 8
    .balign 4096
    .skip 4096
.globl stack3_top
stack3_top:
