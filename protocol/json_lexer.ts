/**
 * Lexical states of the JSON text on a QMP socket, as a table from state and byte to the next state.
 * Source of the behaviour: QEMU's documentation of its monitor's input and recorded transcripts of QEMU 7.2. Extensions
 * over RFC 8259: strings in single quotes, and `\'` in any string. Words are [a-z]+ here; the parser knows three of them.
 */
export const Token = {
  ERROR: 0,
  LCURLY: 1,
  RCURLY: 2,
  LSQUARE: 3,
  RSQUARE: 4,
  COLON: 5,
  COMMA: 6,
  INTEGER: 7,
  FLOAT: 8,
  KEYWORD: 9,
  STRING: 10,
} as const;
export type Token = (typeof Token)[keyof typeof Token];

/** States of the lexer; values above every Token, so that one byte holds either. */
export const State = {
  START: 16,
  RECOVERY: 17,
  DQ_STRING: 18,
  DQ_ESCAPE: 19,
  SQ_STRING: 20,
  SQ_ESCAPE: 21,
  ZERO: 22,
  SIGN: 23,
  DIGITS: 24,
  POINT: 25,
  FRACTION: 26,
  EXP: 27,
  EXP_SIGN: 28,
  EXP_DIGITS: 29,
  KEYWORD: 30,
} as const;

/** Set in an entry whose byte is not used up: it is looked up again in the next state. */
export const LOOKAHEAD = 0x80;

/** next = TRANSITIONS[(state << 8) | byte], a State or Token, perhaps with LOOKAHEAD. Unset entries are Token.ERROR. */
export const TRANSITIONS: Uint8Array = buildTable();

function buildTable(): Uint8Array {
  const table = new Uint8Array(31 << 8);
  const range = (state: number, from: number, to: number, next: number): void => {
    table.fill(next, (state << 8) | from, ((state << 8) | to) + 1);
  };
  const bytes = (state: number, set: string, next: number): void => {
    for (const c of set) table[(state << 8) | c.charCodeAt(0)] = next;
  };
  const digits = (state: number, next: number): void => range(state, 0x30, 0x39, next);
  const terminal = (state: number, token: number): void => range(state, 0, 0xff, token | LOOKAHEAD);

  bytes(State.START, '"', State.DQ_STRING);
  bytes(State.START, "'", State.SQ_STRING);
  digits(State.START, State.DIGITS);
  bytes(State.START, '0', State.ZERO);
  bytes(State.START, '-', State.SIGN);
  bytes(State.START, '{', Token.LCURLY);
  bytes(State.START, '}', Token.RCURLY);
  bytes(State.START, '[', Token.LSQUARE);
  bytes(State.START, ']', Token.RSQUARE);
  bytes(State.START, ':', Token.COLON);
  bytes(State.START, ',', Token.COMMA);
  range(State.START, 0x61, 0x7a, State.KEYWORD);
  bytes(State.START, ' \t\r\n', State.START);

  // After an error: bytes are dropped up to a structural character or a control character other than TAB, or 0xFE/0xFF,
  // which clients send to force a clean state.
  range(State.RECOVERY, 0x20, 0xfd, State.RECOVERY);
  range(State.RECOVERY, 0x00, 0x1f, State.START | LOOKAHEAD);
  range(State.RECOVERY, 0xfe, 0xff, State.START | LOOKAHEAD);
  bytes(State.RECOVERY, '\t', State.RECOVERY);
  bytes(State.RECOVERY, '{}[]:,', State.START | LOOKAHEAD);

  for (const [inside, escaped, delimiter] of [
    [State.DQ_STRING, State.DQ_ESCAPE, '"'],
    [State.SQ_STRING, State.SQ_ESCAPE, "'"],
  ] as const) {
    range(inside, 0x20, 0xfd, inside);
    bytes(inside, '\\', escaped);
    bytes(inside, delimiter, Token.STRING);
    range(escaped, 0x20, 0xfd, inside);
  }

  terminal(State.ZERO, Token.INTEGER);
  digits(State.ZERO, Token.ERROR);
  bytes(State.ZERO, '.', State.POINT);
  digits(State.SIGN, State.DIGITS);
  bytes(State.SIGN, '0', State.ZERO);
  terminal(State.DIGITS, Token.INTEGER);
  digits(State.DIGITS, State.DIGITS);
  bytes(State.DIGITS, '.', State.POINT);
  bytes(State.DIGITS, 'eE', State.EXP);
  digits(State.POINT, State.FRACTION);
  terminal(State.FRACTION, Token.FLOAT);
  digits(State.FRACTION, State.FRACTION);
  bytes(State.FRACTION, 'eE', State.EXP);
  digits(State.EXP, State.EXP_DIGITS);
  bytes(State.EXP, '+-', State.EXP_SIGN);
  digits(State.EXP_SIGN, State.EXP_DIGITS);
  terminal(State.EXP_DIGITS, Token.FLOAT);
  digits(State.EXP_DIGITS, State.EXP_DIGITS);

  terminal(State.KEYWORD, Token.KEYWORD);
  range(State.KEYWORD, 0x61, 0x7a, State.KEYWORD);
  return table;
}
