/** Version of the state sections that `Machine.saveState` gives; each is sent with it, and another is refused. */
export const STATE_VERSION = 1;
