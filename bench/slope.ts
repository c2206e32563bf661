export interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/** Rise per minute of the straight line that fits best (least squares). 0 where the samples are of less than two moments. */
export function slopePerMinute(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const meanMs = mean(({ atMs }) => atMs);
  const meanValue = mean(({ value }) => value);
  const spread = samples.reduce((sum, { atMs }) => sum + (atMs - meanMs) ** 2, 0);
  if (samples.length < 2 || spread === 0) return 0;
  const common = samples.reduce((sum, { atMs, value }) => sum + (atMs - meanMs) * (value - meanValue), 0);
  return (common / spread) * 60_000;
}
