import { simulated } from './simulated.ts';

simulated('queue', 170);
