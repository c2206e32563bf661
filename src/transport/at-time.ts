/** Longest delay of a Node timer, ms; beyond it fires at once. */
const maxDelayMs = 2 ** 31 - 1;

/** Runs `action` at a Unix time in ms, however far away, without keeping the process alive. Returns how to cancel. */
export function atTime(atMs: number, action: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const leftMs = atMs - Date.now();
    timer = setTimeout(leftMs > maxDelayMs ? arm : action, Math.min(Math.max(leftMs, 0), maxDelayMs));
    timer.unref();
  };
  arm();
  return () => clearTimeout(timer);
}
