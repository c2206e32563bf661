import { simulated } from './simulated.ts';

simulated('hub');
