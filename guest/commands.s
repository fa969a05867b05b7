# What comes in on the serial port: one letter each, but `r`, which takes a number and an end of line.

.include "defs.inc"

.section .text
.code64

# Does what the byte in al says. Changes all but rbx, r12 to r15.
.globl command
command:
    cmp dword ptr [rate_reading], 0
    jne rate_byte
    cmp al, 'v'
    je verify
    cmp al, 's'
    je stop
    cmp al, 'g'
    je go
    cmp al, 'r'
    je rate_begin
    cmp al, ' '
    jbe ignore
    mov edi, offset letters
1:  cmp al, [rdi]
    je 2f
    add edi, 2
    cmp byte ptr [rdi], 0
    jne 1b
    mov bpl, al
    mov esi, offset text_what
    call put_text
    mov al, bpl
    call put_char
    jmp put_line
2:  movzx eax, byte ptr [rdi + 1]
    ud2
ignore:
    ret

stop:
    mov dword ptr [stopped], 1
    mov esi, offset text_stop
    call put_text
    jmp put_line

go:
    mov dword ptr [stopped], 0
    call rate_changed
    mov esi, offset text_go
    call put_text
    jmp put_line

rate_begin:
    mov dword ptr [rate_reading], 1
    mov dword ptr [rate_length], 0
    ret

# Collects the bytes behind `r` up to \n or \r, then takes them as a rate.
rate_byte:
    cmp al, 10
    je 1f
    cmp al, 13
    je 1f
    mov ecx, [rate_length]
    cmp ecx, 15
    ja ignore
    mov [rate_text + rcx], al
    inc dword ptr [rate_length]
    ret
1:  mov dword ptr [rate_reading], 0
    mov ecx, [rate_length]
    mov byte ptr [rate_text + rcx], 0
    mov esi, offset rate_text
    call parse_rate
    jc 2f
    mov [rate], rax
    call rate_changed
    mov esi, offset text_rate_is
    call put_text
    mov rax, [rate]
    call put_rate
    jmp put_line
2:  mov esi, offset text_bad_rate
    call put_text
    mov esi, offset rate_text
    call put_text
    jmp put_line

# Checks every filled page: those of the working set before the position in generation passes + 1, those behind it in
# generation passes, all others in generation 0. Reports the first that is wrong and how many are.
verify:
    push rbx
    xor r10d, r10d                  # page number in the fill
    xor r11d, r11d                  # wrong pages
    mov rbx, [progress + P_SEGMENTS]
    mov r9d, offset progress + P_TABLE
1:  test rbx, rbx
    jz 6f
    mov rsi, [r9]
    mov rbp, [r9 + 8]
2:  xor edx, edx
    mov rax, r10
    sub rax, [progress + P_WS_AT]
    jb 3f
    cmp rax, [progress + P_WS]
    jae 3f
    mov rdx, r12
    cmp rax, r13
    jae 3f
    inc rdx
3:  mov rdi, rsi
    call pattern_check
    je 4f
    call wrong
4:  add rsi, 4096
    inc r10
    dec rbp
    jnz 2b
    add r9, 16
    dec rbx
    jmp 1b

    # Memory of another moment than the registers.
6:  mov esi, offset progress
    mov rax, r12
    mov r8, [progress + P_PASSES]
    cmp rax, r8
    jne 7f
    mov rax, r13
    mov r8, [progress + P_POSITION]
    cmp rax, r8
    jne 7f
    xor eax, eax
    mov r8, [progress + P_STALE]
    cmp rax, r8
    je 8f
7:  call wrong
8:  test r11, r11
    jnz 9f
    mov esi, offset text_ok
    call put_text
    mov rax, r10
    call put_decimal
    mov esi, offset text_passes
    call put_text
    mov rax, r12
    call put_decimal
    pop rbx
    jmp put_line
9:  mov esi, offset text_bad
    call put_text
    mov rax, [bad_page]
    call put_hex
    mov esi, offset text_want
    call put_text
    mov rax, [bad_want]
    call put_hex
    mov esi, offset text_got
    call put_text
    mov rax, [bad_got]
    call put_hex
    mov esi, offset text_count
    call put_text
    mov rax, r11
    call put_decimal
    pop rbx
    jmp put_line

# Counts a wrong page at rsi (rax wanted, r8 found) and keeps the first.
wrong:
    inc r11
    cmp r11, 1
    jne 1f
    mov [bad_page], rsi
    mov [bad_want], rax
    mov [bad_got], r8
1:  ret

.section .rodata
# Letter, service.
letters:
    .byte 'x', SVC_RESET, 'q', SVC_DEBUG_EXIT, 'h', SVC_HALT, 't', SVC_TRIPLE, 0
text_what:     .asciz "WARN unknown command: "
text_stop:     .asciz "STOP"
text_go:       .asciz "GO"
text_rate_is:  .asciz "RATE "
text_bad_rate: .asciz "WARN bad rate: "
text_ok:       .asciz "VERIFY ok pages="
text_passes:   .asciz " passes="
text_bad:      .asciz "VERIFY BAD page="
text_want:     .asciz " want="
text_got:      .asciz " got="
text_count:    .asciz " count="

.section .bss, "aw", @nobits
    .balign 8
rate_reading: .skip 8
rate_length:  .skip 8
rate_text:    .skip 24
bad_page:     .skip 8
bad_want:     .skip 8
bad_got:      .skip 8
