-- Reassembles TFTP transfers (RFC 1350, options of RFC 2347, 2348, 2349 and 7440).
--
-- Wireshark identifies TFTP packets on any port, and the request that each belongs to; this module assembles their
-- bytes, since Wireshark itself does not reassemble a file that a plugin could read.
--
--   local transfers = tftp.new(device)         device(name) says whose file it is; files of none are not kept
--   transfers:request(frame, payload, source)  a read request, seen in that frame; returns the name of a wanted file.
--                                              Requests for other files matter, too: a late answer may be theirs
--   transfers:packet(request_frame, payload, source, target)   what follows a request, with both its endpoints (any text
--                                              that tells them apart); returns the transfer when it is now complete, or
--                                              nil and what happens to it: { what = "begins" } at its first block, "ends"
--                                              at its last one if others are missing, "error" (with code =, message =) when
--                                              it ends with an error, "pipelined" if it may be of two files; each has
--                                              names =, a list, and all but the last request =, the frame of the request
--
-- A transfer is { name =, content =, request = }.  Memory is bounded for any capture: a file may have MAX_FILE bytes, all
-- unfinished files together MAX_OPEN_BYTES, and there may be MAX_OPEN of them; beyond that, the oldest are dropped.  Of the
-- answers to one request, the first MAX_ANSWERS count.  What is remembered of finished transfers has about MAX_FILE bytes.

local M = { MAX_FILE = 4 * 1024 * 1024, MAX_OPEN = 1024, MAX_OPEN_BYTES = 32 * 1024 * 1024, MAX_ANSWERS = 4 }

local DATA, ERROR, OPTIONS = 3, 5, 6
local READ = 1
local MOST_SERIES = 4 -- of one client's port
local SERIES = 512 -- about what a request, a series or a server in it needs
local OTHERS = "" -- instead of a device: files of none
local UNFINISHED, ENDED = "unfinished", "ended" -- instead of the last packet of a server

local Transfers = {}
Transfers.__index = Transfers

--- Return a new, empty set of transfers.
function M.new(device)
    local empty = { device = device, open = {}, latest = {}, series = {}, others = {}, order = {} }
    empty.first, empty.last, empty.count, empty.bytes, empty.series_bytes = 1, 0, 0, 0, 0
    return setmetatable(empty, Transfers)
end

-- Return the options at the end of a request or its acknowledgement: name NUL value NUL, names in upper or lower case.
local function options(text)
    local found = {}
    for name, value in text:gmatch("([^\0]+)\0([^\0]*)\0") do
        found[name:lower()] = tonumber(value)
    end
    return found
end

function Transfers:drop(request)
    if self.open[request.frame] then
        self.open[request.frame] = nil
        if self.latest[request.asks] == request.frame then
            self.latest[request.asks] = nil
        end
        self.count = self.count - 1
        self.bytes = self.bytes - request.size
    end
end

-- Drop the oldest transfers above the limits.
function Transfers:trim()
    while self.count > M.MAX_OPEN or self.bytes > M.MAX_OPEN_BYTES do
        local request = self.open[self.order[self.first]]
        self.order[self.first] = nil
        self.first = self.first + 1
        if request then
            self:drop(request)
        end
    end
end

-- Count a request in the series of its client's port: the requests for files of one device, or of none, the series
-- before, and the last packets of the servers that answered.  It is kept after its transfers, because late packets may
-- belong to it.
function Transfers:continue(client, device, name)
    if self.series_bytes > M.MAX_FILE then
        self.series, self.others, self.series_bytes = {}, {}, 0
    end
    local series = self.series[client]
    if not series or series.device ~= device then
        series = { device = device, name = name, asked = 0, answered = 0, servers = {}, before = series }
        self.series[client] = series
        local oldest = series
        for _ = 1, MOST_SERIES - 1 do
            oldest = oldest and oldest.before
        end
        if oldest then
            oldest.before = nil
        end
    end
    series.asked = series.asked + 1
    self.series_bytes = self.series_bytes + SERIES
    return series
end

--- Store a read request and return the file's name; ignore other requests.  Of other files, only what tells whose a late
-- packet may be is stored.
---@param frame integer
---@param payload string
---@param source string
function Transfers:request(frame, payload, source)
    local high, low = payload:byte(1, 2)
    if high ~= 0 or low ~= READ or self.open[frame] or self.others[frame] then
        return
    end
    local name, mode, rest = payload:match("^([^\0]+)\0([^\0]+)\0(.*)$", 3)
    local device = name and self.device(name)
    if not device then
        if name then
            self.others[frame] = { client = source, series = self:continue(source, OTHERS, name), size = 512 }
        end
        return
    end
    local asked = options(rest)
    local asks = source .. " " .. name
    local before = self.open[self.latest[asks]]
    self.latest[asks] = frame
    self.open[frame] = {
        name = name,
        frame = frame,
        client = source,
        asks = asks,
        -- The request that was being answered when the client sent it again.
        earlier = before and (before.answered > 0 and not before.failed and before.frame or before.earlier),
        series = self:continue(source, device, name),
        netascii = mode:lower() == "netascii",
        asked = asked.blksize,
        asked_total = asked.tsize,
        answers = {},  -- by the server's address and port
        answered = 0,
        size = 0,
    }
    self.count = self.count + 1
    self.last = self.last + 1
    self.order[self.last] = frame
    self:trim()
    return name
end

-- Return the number of a block, counted beyond 65535, where servers restart with 0 or with 1.
local function full_number(answer, block)
    local number = block + answer.shift
    local behind = answer.highest - number
    if behind > 32768 then
        answer.skip = (block == 1 and answer.highest % 65536 == 65535) and 65535 or 65536
        answer.shift = answer.shift + answer.skip
        number = number + answer.skip
    elseif behind < -32768 and answer.shift > 0 then
        number = number - answer.skip  -- a late retransmission from before the wrap
    end
    return number
end

-- Return the size of a full block.  Without the server's acknowledgement of options it is 512, unless a block is longer:
-- then the acknowledgement is only missing in the capture.
local function block_size(request, answer)
    if answer.size_agreed then
        return answer.size_agreed
    end
    local first = answer.blocks[1]
    if first and request.asked and #first == request.asked then
        return request.asked
    end
    return math.max(512, answer.longest)
end

local function assemble(request, answer)
    local size = block_size(request, answer)
    local last = answer.blocks[answer.highest]
    if answer.mixed or not last or #last >= size or answer.count < answer.highest then
        return nil
    end
    for i = 1, answer.highest - 1 do
        if #answer.blocks[i] ~= size then
            return nil
        end
    end
    local content = table.concat(answer.blocks, "", 1, answer.highest)
    if answer.total and answer.total ~= #content then
        return nil
    end
    if request.netascii then
        content = content:gsub("\r\n", "\n"):gsub("\r\0", "\r")
    end
    return { name = request.name, content = content, request = request.frame }
end

-- Return the size that the server announced.  In netascii mode atftpd 0.8.0 announces 0, and if a client requests with a
-- size, tftpd-hpa 5.2 returns that size.
local function announced(request, total)
    if request.netascii or total ~= 0 and total == request.asked_total then
        return nil
    end
    return total
end

-- Return the request to which a packet belongs.  Wireshark names the last request of the client.  If the client sent it
-- again because the answer was late, and the server answered twice, the first answer continues on its own port.
function Transfers:of(frame, server)
    local last = self.open[frame]
    if not last then
        return nil
    end
    local others = last.answered - (last.answers[server] and 1 or 0)
    local earlier = (last.failed or others > 0) and self.open[last.earlier]
    for _ = 1, M.MAX_ANSWERS do
        if earlier and earlier.answers[server] then
            return earlier, last
        end
        earlier = earlier and self.open[earlier.earlier]
    end
    return last
end

-- Return the series of another device to which a server's packet may belong.  Wireshark names the last request of the
-- client's port, and a late answer to one before would bring a file under a wrong name.  A server that has sent a whole
-- file may send its last block again; another packet from it answers the next request.
local function rival_of(series, server, payload)
    local known = series.servers[server]
    local rival = series.before
    while rival do
        local sent = rival.servers[server]
        local late = sent == UNFINISHED or sent == payload or not sent and not known and rival.answered < rival.asked
        if late and rival.device ~= series.device then
            return rival
        end
        rival = rival.before
    end
end

-- Record a packet of a server in the series of the request that it answers.  A server that has sent a whole file, and not
-- only its last packet again, answers another request.  After an error, the other answers for the same device are errors,
-- too.
local function record(series, server, payload)
    local sent = series.servers[server]
    if payload:byte(2) == ERROR then
        series.servers[server] = sent and ENDED
        if series.device ~= OTHERS then
            series.answered = series.asked
        elseif not sent then
            series.answered = math.min(series.asked, series.answered + 1)
        end
    elseif sent ~= UNFINISHED and sent ~= payload and series.answered < series.asked then
        series.servers[server], series.answered = UNFINISHED, series.answered + 1
    end
end

-- Record the last packet of a server.
function Transfers:ended(series, server, packet)
    series.servers[server] = packet
    self.series_bytes = self.series_bytes + #packet
end

-- Record a packet of the transfer of another file: whether the server answered, and whether it has sent all.  An error of
-- the client ends the transfer.
function Transfers:follow(other, payload, source, target)
    local series, opcode, server = other.series, payload:byte(2), source
    if source == other.client then
        if opcode == ERROR and series.servers[target] then
            series.servers[target] = ENDED
        end
        return
    end
    if rival_of(series, server, payload) then
        return
    end
    record(series, server, payload)
    if opcode == OPTIONS then
        other.size = options(payload:sub(3)).blksize or other.size
    elseif opcode == DATA and series.servers[server] == UNFINISHED then
        other.size = math.max(other.size, #payload - 4)
        if #payload - 4 < other.size then
            self:ended(series, server, payload)
        end
    end
end

-- Remove a completed transfer.
function Transfers:finish(request, server)
    local answer = request.answers[server]
    local number = answer.highest % 65536
    local last = "\0\3" .. string.char(math.floor(number / 256), number % 256) .. answer.blocks[answer.highest]
    self:ended(request.series, server, last)
    self:drop(request)
end

-- Return the answer of a server to a request; nil if there are too many.
local function answer_of(request, server)
    local answer = request.answers[server]
    if not answer and request.answered < M.MAX_ANSWERS then
        answer = { blocks = {}, size = 0, count = 0, highest = 0, shift = 0, longest = 0 }
        request.answers[server] = answer
        request.answered = request.answered + 1
    end
    return answer
end

-- Add a block.  A retransmission is the same; a block of the same number with other bytes is of another file, which the
-- server sent before or after this one from the same port: which blocks belong together is then not known.
function Transfers:add(request, answer, block, data)
    local number = full_number(answer, block)
    if number < 1 or answer.blocks[number] then
        answer.mixed = answer.mixed or number >= 1 and answer.blocks[number] ~= data
        return false
    end
    answer.blocks[number] = data
    answer.count = answer.count + 1
    answer.highest = math.max(answer.highest, number)
    answer.longest = math.max(answer.longest, #data)
    answer.size = answer.size + #data
    request.size = request.size + #data
    self.bytes = self.bytes + #data
    return true
end

-- Remove the blocks of an answer.
function Transfers:empty(request, answer)
    request.size = request.size - answer.size
    self.bytes = self.bytes - answer.size
    answer.blocks, answer.size, answer.count, answer.highest, answer.ended = {}, 0, 0, 0, true
end

-- Give an earlier request what its server sent after the client asked again, and before another port answered that.
function Transfers:give_back(earlier, last, server)
    local late = last.answers[server]
    if late and not late.ended then
        local answer, blocks = earlier.answers[server], late.blocks
        local highest = late.highest
        answer.size_agreed = answer.size_agreed or late.size_agreed
        answer.total = answer.total or late.total
        answer.mixed = answer.mixed or late.mixed
        self:empty(last, late)
        for number = 1, highest do
            if blocks[number] then
                self:add(earlier, answer, number % 65536, blocks[number])
            end
        end
    end
end

-- End an answer with an error; return whether no other one is left.  A request that was sent again still leads to the
-- earlier one.
function Transfers:fail(request, server)
    local answer = request.answers[server]
    if not answer and request.answered > 0 then
        return false
    end
    if answer then
        self:empty(request, answer)
    end
    for _, other in pairs(request.answers) do
        if not other.ended then
            return false
        end
    end
    if self.open[request.earlier] then
        request.failed = true
    else
        self:drop(request)
    end
    return true
end

--- Record a packet after a request; return the transfer if this packet completes it, else nil and what happens to it.
--
-- A retransmitted request may be answered twice, from two ports.  The client ends the second transfer with an error, or the
-- server ends it after a timeout; the first continues undisturbed (RFC 1350, section 4).  The blocks of two ports are never
-- joined: the file may have changed between.
---@param payload string
---@param source string
---@param target string
function Transfers:packet(frame, payload, source, target)
    if #payload < 4 then
        return nil
    end
    local other = self.others[frame]
    if other then
        self:follow(other, payload, source, target)
        return nil
    end
    local _, opcode, high, low = payload:byte(1, 4)
    local asked = self.open[frame]
    local server = asked and source == asked.client and target or source
    local request, last = self:of(frame, server)
    if not request or request.failed then
        return nil
    end
    if last then
        self:give_back(request, last, server)
        local complete = assemble(request, request.answers[server])
        if complete then
            self:finish(request, server)
            return complete
        end
    end
    local rival = source == server and rival_of(request.series, server, payload)
    if source == server and not rival then
        record(request.series, server, payload)
    end
    if opcode == ERROR then
        if self:fail(request, server) then
            local event = { what = "error", names = { request.name }, request = request.frame }
            event.code, event.message = high * 256 + low, payload:match("^[^\0]*", 5)
            return nil, event
        end
        return nil
    end
    if rival then
        local told = opcode ~= DATA or request.doubted
        request.doubted = request.doubted or not told
        return nil, not told and { what = "pipelined", names = { rival.name, request.name } } or nil
    end
    -- Data from the client is an upload whose request is not in the capture.
    local answer = source == server and (opcode == OPTIONS or opcode == DATA) and answer_of(request, server)
    if not answer or answer.ended then
        return nil
    elseif opcode == OPTIONS then
        local agreed = options(payload:sub(3))
        answer.size_agreed = agreed.blksize or 512
        answer.total = announced(request, agreed.tsize)
        return nil
    end
    local data = payload:sub(5)
    if answer.size + #data > M.MAX_FILE then
        self:drop(request)
        return nil
    end
    local is_new = self:add(request, answer, high * 256 + low, data)
    local complete = is_new and assemble(request, answer)
    if complete then
        self:finish(request, server)
        return complete
    end
    local ends = is_new and #data < block_size(request, answer)
    if answer.mixed then
        self:empty(request, answer)
    end
    self:trim()
    if ends or answer.mixed then
        return nil, { what = "ends", names = { request.name }, request = request.frame }
    elseif is_new and answer.count == 1 then
        return nil, { what = "begins", names = { request.name }, request = request.frame }
    end
    return nil
end

return M
