import os
from taskmaster.job import NO_CURSOR
class Jsonl:
    def __init__(self, path): self.path=path
    def open(self, mark):
        self.f=open(self.path,"ab" if mark is None else "r+b"); self.f.truncate(mark or 0); self.f.seek(0,2)
    def write(self, results):
        for one in results:
            self.f.write(b"".join([b'{"offset": %d, "result": %b}\n' % (one.first+i, line) for i,line in enumerate(one.lines.split(b"\n")[:-1])]))
    def flush(self):
        self.f.flush(); os.fsync(self.f.fileno()); return self.f.tell()
    def close(self): self.f.close()
