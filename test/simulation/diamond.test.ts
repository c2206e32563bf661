import { simulated } from './simulated.ts';

simulated('diamond');
