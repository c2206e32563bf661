import { Line, type LineLimits } from '../lane/line.ts';
import { spareTime } from '../lib/spare-time.ts';

/** A line in real time. */
export function openLine(limits: LineLimits): Line {
  return new Line(limits, {
    nowMs: () => performance.now(),
    later: (run, ms) => void setTimeout(run, ms).unref(),
    hasTime: () => spareTime.has(),
  });
}
