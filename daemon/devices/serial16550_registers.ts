/** Registers and bits of the PC16550D by its data sheet's names: https://www.ti.com/lit/ds/symlink/pc16550d.pdf */

// Register offsets (table II).
export const RBR_THR = 0;
export const IER = 1;
export const IIR_FCR = 2;
export const LCR = 3;
export const MCR = 4;
export const LSR = 5;
export const MSR = 6;

export const IER_RDI = 0x01;
export const IER_THRI = 0x02;
export const IER_RLSI = 0x04;
export const IER_MSI = 0x08;
export const IER_MASK = 0x0f;

// Interrupt identification (table III), highest priority first.
export const IIR_RLSI = 0x06;
export const IIR_RDI = 0x04;
export const IIR_TIMEOUT = 0x0c;
export const IIR_THRI = 0x02;
export const IIR_MSI = 0x00;
export const IIR_NONE = 0x01;
export const IIR_FIFO_ENABLED = 0xc0;

export const FCR_ENABLE = 0x01;
export const FCR_CLEAR_RX = 0x02;
export const FCR_TRIGGER = 0xc0;
export const RX_TRIGGER = [1, 4, 8, 14];

export const LCR_DLAB = 0x80;

export const MCR_DTR = 0x01;
export const MCR_RTS = 0x02;
export const MCR_OUT1 = 0x04;
export const MCR_OUT2 = 0x08;
export const MCR_LOOP = 0x10;
export const MCR_MASK = 0x1f;

export const LSR_DR = 0x01;
export const LSR_OE = 0x02;
export const LSR_THRE = 0x20;
export const LSR_TEMT = 0x40;

export const MSR_DELTAS = 0x0f;
export const MSR_TERI = 0x04;
export const MSR_CTS = 0x10;
export const MSR_DSR = 0x20;
export const MSR_RI = 0x40;
export const MSR_DCD = 0x80;
/** A peer that is always there. */
export const MSR_CONNECTED = MSR_DCD | MSR_DSR | MSR_CTS;
