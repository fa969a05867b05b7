# The work: writing the fill, and dirtying the working set at its pace. r12 to r14 as main.s says.

.include "defs.inc"

.set BATCH, 64                      # most pages between two looks at the clock

.section .text
.code64

# rax = pages to dirty now, 0..BATCH; rbx = now. A debt of more than a fifth of a second is forgiven, so that a guest that
# stood still does not come back in a rush.
.globl pages_due
pages_due:
    mov rcx, [rate]
    mov eax, BATCH
    cmp rcx, RATE_MAX
    je 2f
    mov rax, rbx
    sub rax, [rate_since]
    jb 3f
    mul rcx
    mov esi, 1000000000
    cmp rdx, rsi
    jae 3f
    div rsi
    sub rax, [rate_done]
    jbe 1f
    lea rdx, [rax + rax * 4]
    sub rdx, BATCH * 5
    jbe 4f
    cmp rdx, rcx
    ja 3f
4:  mov ecx, BATCH
    cmp rax, rcx
    cmova rax, rcx
    add [rate_done], rax
2:  ret
3:  mov [rate_since], rbx
    mov qword ptr [rate_done], 0
1:  xor eax, eax
    ret

# Starts pacing anew. Changes rax and what now_ns changes.
.globl rate_changed
rate_changed:
    call now_ns
    mov [rate_since], rax
    mov qword ptr [rate_done], 0
    ret

# Dirties up to rax pages (at least 1) of the working set: to its end or the end of the memory segment at most.
# The pages left out stay counted in rate_done only if they were written.
.globl dirty
dirty:
    mov rbp, rax
    mov r10, rax
    mov rax, r13
    add rax, [progress + P_WS_AT]
    call locate                     # rdi, rcx
    mov rax, [progress + P_WS]
    sub rax, r13
    cmp rcx, rax
    cmova rcx, rax
    cmp rbp, rcx
    cmova rbp, rcx
    sub r10, rbp
    sub [rate_done], r10            # not written: still due
1:  cmp r12, [progress + P_PASSES]
    jne stale
    cmp r13, [progress + P_POSITION]
    jne stale
2:  lea rdx, [r12 + 1]
    call pattern_write              # moves rdi on
    inc r14
    inc r13
    cmp r13, [progress + P_WS]
    jb 3f
    xor r13d, r13d
    inc r12
3:  mov [progress + P_PASSES], r12
    mov [progress + P_POSITION], r13
    mov [progress + P_DIRTIED], r14
    dec rbp
    jnz 1b
    ret

# Memory does not hold what the registers say was written last: one of the two is not of this moment.
stale:
    push rdi
    inc qword ptr [progress + P_STALE]
    mov esi, offset text_stale
    call put_text
    mov rax, r12
    call put_decimal
    mov al, ':'
    call put_char
    mov rax, r13
    call put_decimal
    mov esi, offset text_got
    call put_text
    mov rax, [progress + P_PASSES]
    call put_decimal
    mov al, ':'
    call put_char
    mov rax, [progress + P_POSITION]
    call put_decimal
    call put_line
    pop rdi
    jmp 2b

# Writes generation 0 to all of the fill and prints FILLED.
.globl fill
fill:
    call now_ns
    mov [fill_start], rax
    mov rbx, [progress + P_SEGMENTS]
    mov r9d, offset progress + P_TABLE
1:  test rbx, rbx
    jz 3f
    mov rdi, [r9]
    mov r8, [r9 + 8]
2:  xor edx, edx
    call pattern_write
    dec r8
    jnz 2b
    add r9, 16
    dec rbx
    jmp 1b
3:  mov rax, PROGRESS_MAGIC
    mov [progress + P_MAGIC], rax
    mov esi, offset text_filled
    call put_text
    mov rax, [progress + P_FILL]
    call put_decimal
    mov esi, offset text_ms
    call put_text
    call now_ns
    sub rax, [fill_start]
    xor edx, edx
    mov ecx, 1000000
    div rcx
    call put_decimal
    jmp put_line

.section .rodata
text_filled:  .asciz "FILLED pages="
text_stale:   .asciz "STALE want="
text_got:     .asciz " got="

.section .bss, "aw", @nobits
    .balign 8
rate_since:   .skip 8               # start of the count, ns
rate_done:    .skip 8               # pages since then
fill_start:   .skip 8
