/** Where the demo shows itself: a table that changes in place on a terminal, lines anywhere else. */
export interface Screen {
  /** Something happened; stays. */
  event(text: string): void;
  /** How things stand; takes the place of what was there before. */
  show(lines: readonly string[]): void;
  /** What is shown stays, and nothing is drawn over it. */
  settle(): void;
}

export interface ScreenOptions {
  readonly out: (text: string) => void;
  /** Width of the terminal at this moment; undefined where there is none. */
  readonly columns: () => number | undefined;
}

/** How often a place that keeps everything is told how things stand. */
const plainEveryMs = 4000;

export function openScreen(options: ScreenOptions, now: () => number = () => performance.now()): Screen {
  return options.columns() === undefined ? plain(options.out, now) : live(options);
}

function plain(out: (text: string) => void, now: () => number): Screen {
  let shownMs = Number.NEGATIVE_INFINITY;
  let waiting: readonly string[] | undefined;
  const write = (lines: readonly string[]): void => {
    shownMs = now();
    waiting = undefined;
    out(`${lines.join('\n')}\n`);
  };
  return {
    event: (text) => out(`${text}\n`),
    show: (lines) => {
      if (now() - shownMs >= plainEveryMs) write(lines);
      else waiting = lines;
    },
    settle: () => {
      if (waiting !== undefined) write(waiting);
    },
  };
}

function live({ out, columns }: ScreenOptions): Screen {
  let shown: readonly string[] = [];
  // Up to the first line of what is shown, and everything from there to the end of the screen away.
  const wipe = (): string => (shown.length === 0 ? '' : `\u001b[${shown.length}A\u001b[J`);
  const drawn = (): string => {
    // A terminal that does not know its width says 0.
    const width = columns() || 80;
    return shown.map((line) => `${line.slice(0, width - 1)}\n`).join('');
  };
  return {
    event: (text) => out(`${wipe()}${text}\n${drawn()}`),
    show: (lines) => {
      const before = wipe();
      shown = lines;
      out(`${before}${drawn()}`);
    },
    settle: () => {
      shown = [];
    },
  };
}
