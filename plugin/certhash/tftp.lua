-- Reassembles TFTP transfers (RFC 1350, options of RFC 2347, 2348, 2349 and 7440).
--
-- Wireshark identifies TFTP packets on any port, and the request that each belongs to; this module assembles their
-- bytes, since Wireshark itself does not reassemble a file that a plugin could read.
--
--   local transfers = tftp.new(wanted)         wanted(name) says whether a file is worth keeping
--   transfers:request(frame, payload, source)  a read request, seen in that frame; returns the name of a wanted file
--   transfers:packet(request_frame, payload, source, target)   what follows a request, with both its endpoints (any text
--                                              that tells them apart); returns the transfer when it is now complete, or
--                                              nil and what happens to it: { what = "begins", name = } at its first block,
--                                              { what = "ends", name = } at its last one if others are missing,
--                                              { what = "error", name =, code =, message = } when it ends with an error;
--                                              each has request =, the frame of the request that it belongs to
--
-- A transfer is { name =, content =, request = }.  Memory is bounded for any capture: a file may have MAX_FILE bytes, all
-- unfinished files together MAX_OPEN_BYTES, and there may be MAX_OPEN of them; beyond that, the oldest are dropped.

local M = { MAX_FILE = 4 * 1024 * 1024, MAX_OPEN = 1024, MAX_OPEN_BYTES = 32 * 1024 * 1024 }

local DATA, ERROR, OPTIONS = 3, 5, 6
local READ = 1

local Transfers = {}
Transfers.__index = Transfers

--- Return a new, empty set of transfers.
function M.new(wanted)
    local empty = { wanted = wanted, open = {}, latest = {}, order = {}, first = 1, last = 0, count = 0, bytes = 0 }
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
    local transfer = self.open[request]
    if transfer then
        self.open[request] = nil
        if self.latest[transfer.asks] == request then
            self.latest[transfer.asks] = nil
        end
        self.count = self.count - 1
        self.bytes = self.bytes - transfer.size
    end
end

-- Drop the oldest transfers above the limits.
function Transfers:trim()
    while self.count > M.MAX_OPEN or self.bytes > M.MAX_OPEN_BYTES do
        local request = self.order[self.first]
        self.order[self.first] = nil
        self.first = self.first + 1
        self:drop(request)
    end
end

--- Store a read request and return the file's name; ignore other requests and other files.
---@param frame integer
---@param payload string
---@param source string
function Transfers:request(frame, payload, source)
    local high, low = payload:byte(1, 2)
    if high ~= 0 or low ~= READ or self.open[frame] then
        return
    end
    local name, mode, rest = payload:match("^([^\0]+)\0([^\0]+)\0(.*)$", 3)
    if not name or not self.wanted(name) then
        return
    end
    local asked = options(rest)
    local asks = source .. " " .. name
    local before = self.open[self.latest[asks]]
    self.latest[asks] = frame
    self.open[frame] = {
        name = name,
        request = frame,
        asks = asks,
        -- The request whose transfer was in progress when the client sent it again.
        earlier = before and (before.server and not before.failed and before.request or before.earlier),
        netascii = mode:lower() == "netascii",
        asked = asked.blksize,
        asked_total = asked.tsize,
        blocks = {},
        size = 0,
        count = 0,
        highest = 0,
        shift = 0,
    }
    self.count = self.count + 1
    self.last = self.last + 1
    self.order[self.last] = frame
    self:trim()
    return name
end

-- Return the number of a block, counted beyond 65535, where servers restart with 0 or with 1.
local function full_number(transfer, block)
    local number = block + transfer.shift
    local behind = transfer.highest - number
    if behind > 32768 then
        local skip = (block == 1 and transfer.highest % 65536 == 65535) and 65535 or 65536
        transfer.shift = transfer.shift + skip
        number = number + skip
    elseif behind < -32768 and transfer.shift > 0 then
        number = number - 65536  -- a late retransmission from before the wrap
    end
    return number
end

-- Return the size of a full block.  Without the server's acknowledgement of options it is 512, unless a block is longer:
-- then the acknowledgement is only missing in the capture.
local function block_size(transfer)
    if transfer.size_agreed then
        return transfer.size_agreed
    end
    local first = transfer.blocks[1]
    if first and transfer.asked and #first == transfer.asked then
        return transfer.asked
    end
    return math.max(512, transfer.longest or 0)
end

local function assemble(transfer)
    local size = block_size(transfer)
    local last = transfer.blocks[transfer.highest]
    if #last >= size or transfer.count < transfer.highest then
        return nil
    end
    for i = 1, transfer.highest - 1 do
        if #transfer.blocks[i] ~= size then
            return nil
        end
    end
    local content = table.concat(transfer.blocks, "", 1, transfer.highest)
    if transfer.total and transfer.total ~= #content then
        return nil
    end
    if transfer.netascii then
        content = content:gsub("\r\n", "\n"):gsub("\r\0", "\r")
    end
    return { name = transfer.name, content = content, request = transfer.request }
end

-- Return the size that the server announced.  In netascii mode atftpd 0.8.0 announces 0, and if a client requests with a
-- size, tftpd-hpa 5.2 returns that size.
local function announced(transfer, total)
    if transfer.netascii or total ~= 0 and total == transfer.asked_total then
        return nil
    end
    return total
end

-- Return the transfer to which a packet belongs.  Wireshark names the last request of the client.  If the client sent it
-- again because the answer was late, and the server answered twice, the first transfer continues on its own port.
function Transfers:of(request, source, target)
    local transfer = self.open[request]
    local first = transfer and self.open[transfer.earlier]
    local answered_twice = first and (transfer.failed or transfer.server and transfer.server ~= first.server)
    if answered_twice and (first.server == source or first.server == target) then
        return first
    end
    return transfer
end

-- End a transfer with an error.  A request that was sent again still leads to the first transfer.
function Transfers:fail(transfer)
    if self.open[transfer.earlier] then
        transfer.failed = true
    else
        self:drop(transfer.request)
    end
end

--- Record a packet after a request; return the transfer if this packet completes it, else nil and what happens to it.
--
-- A retransmitted request may be answered twice, from two ports.  The client ends the second transfer with an error, or the
-- server ends it after a timeout; the first continues undisturbed (RFC 1350, section 4).
---@param payload string
---@param source string
---@param target string
function Transfers:packet(request, payload, source, target)
    if #payload < 4 then
        return nil
    end
    local _, opcode, high, low = payload:byte(1, 4)
    local transfer = self:of(request, source, target)
    if not transfer or transfer.failed then
        return nil
    end
    request = transfer.request
    if opcode == ERROR then
        local server = transfer.server
        if not server or server == source or server == target then
            self:fail(transfer)
            local message = payload:match("^[^\0]*", 5)
            local code = high * 256 + low
            return nil, { what = "error", name = transfer.name, request = request, code = code, message = message }
        end
    elseif opcode == OPTIONS then
        transfer.server = transfer.server or source
        local agreed = options(payload:sub(3))
        transfer.size_agreed = agreed.blksize or 512
        transfer.total = announced(transfer, agreed.tsize)
    elseif opcode == DATA then
        transfer.server = transfer.server or source
        local number = full_number(transfer, high * 256 + low)
        if number < 1 or transfer.blocks[number] then
            return nil  -- a retransmission: the first one counts
        end
        local data = payload:sub(5)
        if transfer.size + #data > M.MAX_FILE then
            self:drop(request)
            return nil
        end
        transfer.blocks[number] = data
        transfer.count = transfer.count + 1
        transfer.highest = math.max(transfer.highest, number)
        transfer.longest = math.max(transfer.longest or 0, #data)
        transfer.size = transfer.size + #data
        self.bytes = self.bytes + #data
        local complete = assemble(transfer)
        if complete then
            self:drop(request)
            return complete
        end
        self:trim()
        if #data < block_size(transfer) then
            return nil, { what = "ends", name = transfer.name, request = request }
        elseif transfer.count == 1 then
            return nil, { what = "begins", name = transfer.name, request = request }
        end
    end
    return nil
end

return M
